"""A baseline on a poster's colours and rough layout, without a neural network."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from kgenre.evaluation.baselines import FrequencyBaseline, OnProgress, checked_training_films, fit_per_genre

_POSTERS_AT_ONCE = 8  # more would not fit in the CPU cache: three times slower at 64


class PosterBaseline:
    """Colour and layout of the poster, about 400 numbers, and one logistic regression per genre (scikit-learn).

    A genre that all or none of the training films have gets its frequency.

    Args:
        C: inverse strength of the L2 penalty; the default was chosen on validation films out of 2,500.

    Example:
        >>> red, blue = np.zeros((2, 4, 16, 16, 3), "uint8")
        >>> red[..., 0], blue[..., 2] = 200, 200
        >>> posters, genres = np.concatenate([red, blue]), np.repeat([[1, 0], [0, 1]], 4, axis=0)
        >>> PosterBaseline().fit(poster_features(posters), genres).predict_proba(poster_features(red)).argmax(axis=1)
        array([0, 0, 0, 0])
    """

    key: ClassVar[str] = "colours"
    title: ClassVar[str] = "colours and layout + logistic regression"
    reads: ClassVar[str | None] = "poster"

    def __init__(self, C: float = 0.002) -> None:  # noqa: N803
        self.C = C

    def fit(self, films: npt.NDArray[np.float32], genres: np.ndarray, on_progress: OnProgress | None = None) -> Self:
        """Fit on `poster_features` (n, F) of the training films and their (n, G) genres.

        Raises:
            ValueError: ``genres`` is not (n, G) of 0 and 1.
        """
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        genres = checked_training_films(films, genres)
        self.frequencies_ = FrequencyBaseline().fit(films, genres).frequencies_
        self.mean_, self.scale_ = films.mean(axis=0), films.std(axis=0) + 1e-6
        scaled = (films - self.mean_) / self.scale_
        regression = LogisticRegression(C=self.C, max_iter=200)
        with threadpool_limits(1):  # the matrices are small: threads wait for each other most of the time
            self.regressions_ = fit_per_genre(regression, scaled, genres, on_progress)
        return self

    def predict_proba(self, films: npt.NDArray[np.float32]) -> np.ndarray:
        """Return (n, G) float64 probabilities for `poster_features` (n, F)."""
        probabilities = np.tile(self.frequencies_, (len(films), 1))
        scaled = (films - self.mean_) / self.scale_
        if len(films):
            for genre, regression in self.regressions_.items():
                probabilities[:, genre] = regression.predict_proba(scaled)[:, 1]
        return probabilities


def poster_features(posters: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Describe posters (n, H, W, 3) uint8 by about 400 numbers: (n, F) float32.

    A thumbnail of 8 x 8 pixels, a histogram of 4 x 4 x 4 colours, mean and deviation of each channel, and the strength
    of edges in 8 directions in each of 4 x 4 cells (Dalal and Triggs, 2005).
    """
    if len(posters) > _POSTERS_AT_ONCE:
        firsts = range(0, len(posters), _POSTERS_AT_ONCE)
        return np.concatenate([poster_features(posters[first : first + _POSTERS_AT_ONCE]) for first in firsts])
    films, height, width, _ = posters.shape
    film = np.arange(films)[:, None, None]
    thumbnail = _grid_means(posters.astype(np.float32) / 255, 8).reshape(films, -1)
    colour = posters[..., 0] // 64 * 16 + posters[..., 1] // 64 * 4 + posters[..., 2] // 64  # (n, H, W), 0 to 63
    histogram = np.bincount((film * 64 + colour).ravel(), minlength=64 * films).reshape(films, 64) / (height * width)
    channels = np.moveaxis(posters, 3, 0).astype(np.float64, order="C")  # (3, n, H, W); sums of integers are exact
    moments = _moments(channels.reshape(3, films, height * width))
    grey = channels.sum(axis=0).astype(np.float32)  # exact integers, so that equal slopes compare equal
    down, right = (np.gradient(grey, axis=a) if grey.shape[a] > 1 else np.zeros_like(grey) for a in (1, 2))
    # Horizontal, vertical and diagonal edges are common and lie on bin boundaries: a small turn avoids rounding noise.
    angle = np.arctan2(down, right) + np.float32(1e-4)
    half_turn = np.float32(np.pi)
    angle = np.where(angle < 0, angle + half_turn, angle)  # like %, which takes ten times as long
    angle = np.where(angle < half_turn, angle, angle - half_turn)
    direction = np.minimum(angle * np.float32(8 / np.pi), 7).astype(np.int64)
    cell = (np.arange(height) * 4 // height)[:, None] * 4 + np.arange(width) * 4 // width  # (H, W), 0 to 15
    place = (film * 16 + cell) * 8 + direction
    strength = np.bincount(place.ravel(), np.hypot(down, right).ravel(), films * 128).reshape(films, 128)
    edges = strength / (3 * 255 * height * width / 16)
    return np.concatenate([thumbnail, np.sqrt(histogram), moments, np.sqrt(edges)], axis=1).astype(np.float32)


def _moments(channels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return mean and deviation of pixels (3, n, P), integers from 0 to 255, as shares of 255: (n, 6)."""
    pixels = channels.shape[2]
    total, squares = channels.sum(axis=2), np.einsum("cnp,cnp->cn", channels, channels)
    deviation = np.sqrt(np.maximum(pixels * squares - total**2, 0)) / pixels
    return np.concatenate([total / pixels, deviation]).T / 255


def _grid_means(images: np.ndarray, side: int) -> np.ndarray:
    """Average over a grid of ``side`` x ``side`` cells (fewer where the image has fewer pixels)."""
    for axis in (1, 2):
        length = images.shape[axis]
        edges = np.linspace(0, length, min(side, length) + 1).astype(int)
        sizes = np.diff(edges).reshape([-1 if a == axis else 1 for a in range(images.ndim)])
        images = np.add.reduceat(images, edges[:-1], axis=axis) / sizes
    return images
