"""A layer that computes a poster's colour and layout features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kgenre.evaluation.poster_statistics import poster_features

_THUMBNAIL, _CELLS, _DIRECTIONS = 8, 4, 8
_SMALLEST_DEVIATION = 0.02  # chosen by cross-validation on 1,750 films: 0, 0.05 and 0.1 are worse


@keras.saving.register_keras_serializable(package="kgenre")
class ColoursAndLayout(keras.layers.Layer):
    """The 390 features of the baseline's `poster_features`, standardised: mean 0 and standard deviation at most 1.

    A thumbnail of 8 x 8 pixels, a histogram of 4 x 4 x 4 colours, mean and deviation of each channel, and the strength
    of edges in 8 directions in each of 4 x 4 cells. The layer has no trainable weights and blocks gradients: a
    histogram has no useful one.

    Input: float (B, H, W, 3), pixels in [0, 1], channels last. Output: float32 (B, 390), fewer for posters with fewer
    than 8 rows or columns, whose thumbnail is smaller.

    Args:
        **kwargs: ``name``, as for every Keras layer.

    Example:
        >>> tuple(ColoursAndLayout()(np.zeros((2, 96, 64, 3), "float32")).shape)
        (2, 390)
    """

    adapts_to_posters = 1000  # more would not change mean and deviation

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32"} | kwargs)

    def build(self, input_shape: tuple[int | None, int, int, int]) -> None:
        """Create ``mean`` and ``deviation`` (F,), 0 and 1 until `adapt_to_films`."""
        features = self.compute_output_shape(input_shape)[-1:]
        self.mean = self.add_weight(shape=features, initializer="zeros", trainable=False, name="mean")
        self.deviation = self.add_weight(shape=features, initializer="ones", trainable=False, name="deviation")

    def adapt_to_films(self, films: Mapping[str, np.ndarray]) -> None:
        """Set mean and deviation from ``films["poster"]``, uint8 (n, H, W, 3), if there are any."""
        if not len(films.get("poster", ())):
            return
        features = poster_features(films["poster"])
        self.mean.assign(features.mean(axis=0))
        # A colour that few posters have must not be scaled up hundreds of times in those few.
        self.deviation.assign(np.maximum(features.std(axis=0), _SMALLEST_DEVIATION))

    def call(self, pixels: Any) -> Any:
        """Map (B, H, W, 3) to (B, F)."""
        pixels = ops.stop_gradient(pixels)
        mean = _mean(pixels)
        deviation = ops.sqrt(_mean((pixels - mean[:, None, None]) ** 2))
        features = [_thumbnail(pixels), ops.sqrt(_histogram(pixels)), mean, deviation, ops.sqrt(_edges(pixels))]
        return (ops.concatenate(features, axis=1) - self.mean) / self.deviation

    def compute_output_shape(self, input_shape: tuple[int | None, int, int, int]) -> tuple[int | None, int]:
        """Return (B, F)."""
        films, height, width, channels = input_shape
        thumbnail = min(_THUMBNAIL, height) * min(_THUMBNAIL, width) * channels
        return (films, thumbnail + 4**3 + 2 * channels + _CELLS**2 * _DIRECTIONS)


def _mean(pixels: Any) -> Any:
    """Return each channel's mean, (B, C); row by row, as XLA's sums of thousands of float32 are off by 1e-5."""
    return ops.mean(ops.mean(pixels, axis=2), axis=1)


def _thumbnail(pixels: Any) -> Any:
    """Return the means over a grid of cells, (B, 192)."""
    _, height, width, _ = pixels.shape
    parts = (_in_parts(side, np.linspace(0, side, min(_THUMBNAIL, side) + 1)) for side in (height, width))
    small = _summed(pixels, *parts)
    return ops.reshape(small, (-1, int(np.prod(small.shape[1:]))))


def _histogram(pixels: Any) -> Any:
    """Return the shares of 4 x 4 x 4 colours, (B, 64)."""
    _, height, width, _ = pixels.shape
    # A value from 0 to 255 is not restored exactly by / 255 * 255: adding one half keeps it clear of the bins' edges.
    level = ops.minimum(ops.floor((pixels * 255 + 0.5) / 64), 3)
    level = ops.reshape(level, (-1, height * width, 3))
    one_hot = ops.cast(level[..., None] == ops.arange(4, dtype="float32"), "float32")  # (B, pixels, 3, 4)
    red, green, blue = (one_hot[:, :, channel] for channel in range(3))
    red_green = ops.reshape(red[..., None] * green[:, :, None], (-1, height * width, 16))
    return ops.reshape(ops.matmul(ops.transpose(red_green, (0, 2, 1)), blue), (-1, 64)) / (height * width)


def _edges(pixels: Any) -> Any:
    """Return the mean strength of edges in each direction in each cell, (B, 128)."""
    _, height, width, _ = pixels.shape
    grey = ops.round(ops.sum(pixels * 255, axis=3))  # (B, H, W); whole numbers, so that equal slopes compare equal
    down, right = _slope(grey, 1), _slope(grey, 2)
    angle = ops.mod(ops.arctan2(down, right) + 1e-4, np.float32(np.pi))  # 1e-4: see `poster_features`
    direction = ops.minimum(ops.floor(angle * np.float32(_DIRECTIONS / np.pi)), _DIRECTIONS - 1)
    strength = ops.sqrt(down**2 + right**2)
    by_direction = strength[..., None] * ops.cast(
        direction[..., None] == ops.arange(_DIRECTIONS, dtype="float32"), "float32"
    )
    parts = (_in_parts(side, np.ceil(np.arange(_CELLS + 1) * side / _CELLS), mean=False) for side in (height, width))
    strongest = 3 * 255 * height * width / _CELLS**2
    return ops.reshape(_summed(by_direction, *parts), (-1, _CELLS**2 * _DIRECTIONS)) / strongest


def _slope(grey: Any, axis: int) -> Any:
    """Return differences as ``numpy.gradient`` does: central ones inside, one-sided at the borders."""
    side = grey.shape[axis]
    if side == 1:
        return ops.zeros_like(grey)
    after = np.minimum(np.arange(side) + 1, side - 1)
    before = np.maximum(np.arange(side) - 1, 0)
    shape = [-1 if a == axis else 1 for a in range(3)]
    apart = (after - before).astype(np.float32).reshape(shape)
    # A tensor, since torch would convert the numerator to NumPy, which a GPU's cannot be.
    return (ops.take(grey, after, axis=axis) - ops.take(grey, before, axis=axis)) / ops.convert_to_tensor(apart)


def _in_parts(side: int, edges: np.ndarray, mean: bool = True) -> np.ndarray:
    """Build a matrix (parts, side) that sums or averages between ``edges``."""
    edges = edges.astype(int)
    places = np.arange(side)
    inside = (places >= edges[:-1, None]) & (places < edges[1:, None])
    return (inside / np.diff(edges)[:, None] if mean else inside).astype(np.float32)


def _summed(maps: Any, down: np.ndarray, across: np.ndarray) -> Any:
    """Multiply (B, H, W, C) by (h, H) and (w, W): (B, h, w, C)."""
    _, height, width, channels = maps.shape
    rows = ops.matmul(down, ops.reshape(maps, (-1, height, width * channels)))  # (B, h, W C)
    rows = ops.reshape(rows, (-1, len(down), width, channels))
    return ops.matmul(across, rows)  # (B, h, w, C)
