"""From the size that a poster has to the one that it gets."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

RESIZE = ("squash", "letterbox", "crop")
SCALES = (1, 2, 4, 8)  # a JPEG's cosine transform can be undone at these fractions of its size

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]
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


def resize_into(out: Pixels, pixels: Pixels) -> None:
    """Bilinear as ``tf.image.resize`` does it, about the middles of pixels; smoothed where more than half goes.

    Args:
        out: uint8 (H, W, channels), written to.
        pixels: uint8 (h, w, channels).
    """
    height, width, channels = pixels.shape
    size = out.shape[:2]
    if height > 2 * size[0] or width > 2 * size[1]:
        # Much higher or wider than what it becomes: each pixel is made of all that it stands for.
        from PIL import Image

        out[...] = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR)
        return
    # Mostly half the size at most is left to shrink, and two pixels each way are enough: NumPy takes two thirds of the
    # time that Pillow does for more of them.
    top, bottom, down = _neighbours(height, size[0])
    left, right, across = _neighbours(width, size[1], channels)
    rows = _scratch.floats(0, height, width * channels)
    np.copyto(rows.reshape(pixels.shape), pixels)
    rows = _between(rows, top, bottom, down[:, None], 0, (1, 2))  # (H, w channels)
    rows = _between(rows, left, right, across, 1, (0, 2))  # (H, W channels)
    rows += np.float32(0.5)
    np.copyto(out, rows.reshape(out.shape), casting="unsafe")


def _between(
    rows: Floats, first: Indices, second: Indices, share: Floats, axis: int, scratch: tuple[int, int]
) -> Floats:
    shape = (len(first), rows.shape[1]) if axis == 0 else (len(rows), len(first))
    mixed, other = (_scratch.floats(number, *shape) for number in scratch)
    rows.take(first, axis, out=mixed, mode="clip")  # all are inside, and to clip is faster than to check
    rows.take(second, axis, out=other, mode="clip")
    other -= mixed
    other *= share
    mixed += other
    return mixed


class _Scratch(threading.local):
    """Memory that a thread uses again for each poster: to get it anew took as long as to decode."""

    def __init__(self) -> None:
        self._buffers = [np.empty(0, np.float32)] * 3

    def floats(self, number: int, rows: int, columns: int) -> Floats:
        if len(self._buffers[number]) < rows * columns:
            self._buffers[number] = np.empty(rows * columns, np.float32)
        return self._buffers[number][: rows * columns].reshape(rows, columns)


_scratch = _Scratch()


@lru_cache(maxsize=4096)
def _neighbours(before: int, after: int, channels: int = 1) -> tuple[Indices, Indices, Floats]:
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
