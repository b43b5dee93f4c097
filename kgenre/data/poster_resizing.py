"""From the size that a poster has to the one that it gets."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

RESIZE = ("squash", "letterbox", "crop")
SCALES = (1, 2, 4, 8)  # a JPEG's cosine transform can be undone at these fractions of its size

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


class Fit(NamedTuple):
    """How a picture gets its new size: scaled down by SCALES[scale], cut to a window of that, resized to ``inner``."""

    scale: int
    window: tuple[int, int, int, int]  # top, left, height, width
    inner: tuple[int, int]


@lru_cache(maxsize=4096)  # films share few sizes
def fit(height: int, width: int, image_size: tuple[int, int], resize: str) -> Fit:
    """The largest scaling down that leaves at least the pixels that are needed, and what follows it.

    Example:
        >>> fit(450, 300, (64, 64), "squash")
        Fit(scale=2, window=(0, 0, 113, 75), inner=(64, 64))
    """
    ratios = image_size[0] / height, image_size[1] / width
    inner = image_size
    needed: tuple[float, float] = image_size
    if resize == "letterbox":
        needed = inner = tuple(max(1, round(side * min(ratios))) for side in (height, width))
    elif resize == "crop":
        needed = height * max(ratios), width * max(ratios)

    def scaled(scale: int) -> tuple[int, int]:
        return -(-height // SCALES[scale]), -(-width // SCALES[scale])

    def is_enough(scale: int) -> bool:
        return all(side + 1e-6 >= least for side, least in zip(scaled(scale), needed, strict=True))

    scale = max((i for i in range(len(SCALES)) if is_enough(i)), default=0)
    window = sides = scaled(scale)
    if resize == "crop":
        aspect = image_size[1] / image_size[0]
        window = (min(sides[0], round(sides[1] / aspect) or 1), min(sides[1], round(sides[0] * aspect) or 1))
    top, left = ((side - cut) // 2 for side, cut in zip(sides, window, strict=True))
    return Fit(scale, (top, left, *window), inner)


def resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Bilinear as ``tf.image.resize`` does it, about the middles of pixels; smoothed where more than half goes.

    Args:
        pixels: uint8 (h, w, channels).
        size: (height, width) in pixels.
    """
    height, width, channels = pixels.shape
    if height > 2 * size[0] or width > 2 * size[1]:
        # Much higher or wider than what it becomes: each pixel is made of all that it stands for.
        from PIL import Image

        return np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))
    # Mostly half the size at most is left to shrink, and two pixels each way are enough: NumPy takes two thirds of the
    # time that Pillow does for more of them.
    top, bottom, down = _neighbours(height, size[0])
    left, right, across = _neighbours(width, size[1], channels)
    rows = pixels.reshape(height, -1).astype(np.float32)  # (h, 3 w)
    rows = _between(_taken(rows, top, 0), _taken(rows, bottom, 0), down[:, None])  # (H, 3 w)
    resized = _between(_taken(rows, left, 1), _taken(rows, right, 1), across)  # (H, 3 W)
    resized += np.float32(0.5)
    return resized.astype(np.uint8).reshape(*size, channels)


def _taken(rows: Floats, which: npt.NDArray[np.intp], axis: int) -> Floats:
    return rows.take(which, axis, mode="clip")  # all are inside, and to clip is faster than to check


def _between(first: Floats, second: Floats, share: Floats) -> Floats:
    second -= first
    second *= share
    first += second
    return first


@lru_cache(maxsize=4096)
def _neighbours(
    before: int, after: int, channels: int = 1
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]:
    """The two old pixels that each new one lies between, and the share of the second; once for each channel.

    Example:
        >>> _neighbours(4, 2)
        (array([0, 2]), array([1, 3]), array([0.5, 0.5], dtype=float32))
    """
    middle = ((np.arange(after) + 0.5) * before / after - 0.5).clip(0, before - 1)
    first = middle.astype(np.intp)
    second = np.minimum(first + 1, before - 1)
    each = np.arange(channels)
    of_channels = [(pixel[:, None] * channels + each).ravel() for pixel in (first, second)]
    return *of_channels, np.repeat(middle - first, channels).astype(np.float32)
