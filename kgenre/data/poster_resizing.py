"""From the size that a poster has to the one that it gets."""

from __future__ import annotations

import sys
import threading
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

RESIZE = ("squash", "letterbox", "crop")
SCALES = (1, 2, 4, 8)  # a JPEG's cosine transform can be undone at these fractions of its size

Indices = npt.NDArray[np.intp]
Pixels = npt.NDArray[np.uint8]
Shares = npt.NDArray[np.uint16]  # 256ths

_WHOLE, _HALF = np.uint16(256), np.uint16(128)


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

    In whole numbers: shares are 256ths, and rounded after the height and after the width. Of real posters one value in
    five differs from the nearest whole number, by 1; an even colour stays what it is.

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
    # Mostly half the size at most is left to shrink, and two pixels each way are enough: 16 bits hold 255 times 256,
    # and NumPy takes half the time that Pillow does, which mixes more of them.
    line = width * channels
    top, bottom, down = _neighbours(height, size[0])
    lines = _scratch.array(np.uint8, 0, size[0], line)
    mixed, other = (_scratch.array(np.uint16, number, size[0], line) for number in (0, 1))
    for each, shares, product in ((top, _WHOLE - down, mixed), (bottom, down, other)):
        # All are inside, and to clip is faster than to check.
        pixels.reshape(height, line).take(each, 0, out=lines, mode="clip")
        np.multiply(lines, shares[:, None], out=product)
    mixed += other
    mixed += _HALF
    mixed >>= 8
    if width < size[1]:
        left, right, across = _neighbours(width, size[1], channels)
        mixed, other = mixed.take(left, 1), mixed.take(right, 1)
        chosen = np.arange(len(left))
    else:  # an old pixel is the left one of one new pixel at most: mixed where they are, one gather is enough
        chosen, across = _old_pixels(width, size[1], channels)
        other.reshape(-1)[:-channels] = mixed.reshape(-1)[channels:]
    mixed *= _WHOLE - across
    other *= across
    mixed += other
    mixed += _HALF
    high_bytes = 2 * chosen + (sys.byteorder == "little")  # what a shift by 8 bits would leave
    mixed.view(np.uint8).take(high_bytes, 1, out=out.reshape(size[0], -1), mode="clip")


class _Scratch(threading.local):
    """Memory that a thread uses again for each poster: to get it anew took as long as to decode."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[type, int], npt.NDArray[Any]] = {}

    def array(self, kind: type, number: int, rows: int, columns: int) -> npt.NDArray[Any]:
        buffer = self._buffers.get((kind, number))
        if buffer is None or len(buffer) < rows * columns:
            buffer = self._buffers[kind, number] = np.empty(rows * columns, kind)
        return buffer[: rows * columns].reshape(rows, columns)


_scratch = _Scratch()


@lru_cache(maxsize=4096)
def _neighbours(before: int, after: int, channels: int = 1) -> tuple[Indices, Indices, Shares]:
    """The two old pixels that each new one lies between, and the share of the second; once for each channel.

    Example:
        >>> _neighbours(4, 2)
        (array([0, 2]), array([1, 3]), array([128, 128], dtype=uint16))
    """
    middle = ((np.arange(after) + 0.5) * before / after - 0.5).clip(0, before - 1)
    first = middle.astype(np.intp)
    second = np.minimum(first + 1, before - 1)
    each = np.arange(channels)
    of_channels = [(pixel[:, None] * channels + each).ravel() for pixel in (first, second)]
    return *of_channels, np.repeat(np.round((middle - first) * _WHOLE), channels).astype(np.uint16)


@lru_cache(maxsize=4096)
def _old_pixels(before: int, after: int, channels: int) -> tuple[Indices, Shares]:
    """The old pixel at the left of each new one, and for each old pixel the share that its right neighbour has.

    Example:
        >>> _old_pixels(4, 2, channels=1)
        (array([0, 2]), array([128,   0, 128,   0], dtype=uint16))
    """
    left, _, across = _neighbours(before, after, channels)
    shares = np.zeros(before * channels, np.uint16)
    shares[left] = across
    return left, shares
