"""A poster's colours and rough layout as numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_POSTERS_AT_ONCE = 8  # more would not fit in the CPU cache: three times slower at 64


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
