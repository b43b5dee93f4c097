"""From the size that a poster has to the one that it gets."""

from __future__ import annotations

import math
import sys
import threading
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

RESIZE = ("squash", "letterbox", "crop")
SCALES = (1, 2, 4, 8)  # a JPEG's cosine transform can be undone at these fractions of its size

Indices = npt.NDArray[np.intp]
Pixels = npt.NDArray[np.uint8]
Shares = npt.NDArray[np.uint16]  # 256ths

_WHOLE, _HALF = np.uint16(256), np.uint16(128)
_TWO_PIXELS = 2.4  # times as high or wide: beyond, two pixels each way leave too much out


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
        needed = inner = (max(1, round(height * min(ratios))), max(1, round(width * min(ratios))))
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
    """Bilinear as ``tf.image.resize`` does it, about the middles of pixels; smoothed where much is shrunk.

    In whole numbers: shares are 256ths. Of real posters one value in eight differs from the nearest whole number, by 1;
    an even colour stays what it is.

    Args:
        out: uint8 (H, W, channels), written to.
        pixels: uint8 (h, w, channels).
    """
    height, width, channels = pixels.shape
    size = out.shape[:2]
    if height > _TWO_PIXELS * size[0] or width > _TWO_PIXELS * size[1]:
        # Much higher or wider than what it becomes: each pixel is made of all that it stands for.
        from PIL import Image

        out[...] = np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))
        return
    # Mostly half the size at most is left to shrink, and two pixels each way are enough: 16 bits hold 255 times 256,
    # and NumPy takes a third of the time that Pillow does, which mixes more of them.
    line = width * channels
    mixed, other, step = _scratch.arrays(3, size[0], line)
    lines = step.view(np.uint8).reshape(2 * size[0], line)  # no longer needed when the steps are
    rows, shares = _old_rows(height, size[0])
    # All are inside, and to wrap is faster than to check or to clip.
    pixels.reshape(height, line).take(rows, 0, out=lines, mode="wrap")
    np.multiply(lines[: size[0]], shares[0], out=mixed)
    np.multiply(lines[size[0] :], shares[1], out=other)
    mixed += other
    mixed += _HALF
    np.right_shift(mixed, 8, out=other)
    if width < size[1]:
        left, right, across = _neighbours(width, size[1], channels)
        step = other.take(right, 1) - other.take(left, 1)
        mixed, high_bytes = mixed.take(left, 1), _high_bytes(np.arange(len(left)))
    else:  # an old pixel is the left one of one new pixel at most: mixed where they are, one gather is enough
        high_bytes, across = _old_pixels(width, size[1], channels, math.gcd(size[0], 8))
        flat = other.reshape(-1)
        np.subtract(flat[channels:], flat[:-channels], out=step.reshape(-1)[:-channels])
    # Differences below 0 are right modulo 65536, and so is the sum.
    step.reshape(-1, len(across))[...] *= across
    mixed += step
    mixed.view(np.uint8).take(high_bytes, 1, out=out.reshape(size[0], -1), mode="wrap")


class _Scratch(threading.local):
    """Memory that a thread uses again for each poster: to get it anew took as long as to decode."""

    def __init__(self) -> None:
        self._buffer: npt.NDArray[np.uint16] = np.empty(0, np.uint16)

    def arrays(self, count: int, rows: int, columns: int) -> npt.NDArray[np.uint16]:
        size = count * rows * columns
        if len(self._buffer) < size:
            self._buffer = np.empty(size, np.uint16)
        return self._buffer[:size].reshape(count, rows, columns)


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
    left, right = ((pixel[:, None] * channels + each).ravel() for pixel in (first, second))
    return left, right, np.repeat(np.round((middle - first) * _WHOLE), channels).astype(np.uint16)


@lru_cache(maxsize=4096)
def _old_rows(before: int, after: int) -> tuple[Indices, Shares]:
    """The old rows above all new ones, then those below; and the shares (2, after, 1) that these and those have."""
    top, bottom, down = _neighbours(before, after)
    return np.concatenate([top, bottom]), np.stack([_WHOLE - down, down])[..., None]


@lru_cache(maxsize=4096)
def _old_pixels(before: int, after: int, channels: int, rows: int) -> tuple[Indices, Shares]:
    """The old pixel at the left of each new one, and for each old pixel the share that its right neighbour has.

    The pixels are given as their `_high_bytes`; the shares as those of ``rows`` lines, one after the other: NumPy is
    twice as fast if it meets them so.
    """
    left, _, across = _neighbours(before, after, channels)
    shares = np.zeros(before * channels, np.uint16)
    shares[left] = across
    return _high_bytes(left), np.tile(shares, rows)


def _high_bytes(places: Indices) -> Indices:
    """Where in bytes that is which a shift by 8 bits would leave of 16 bits at these places."""
    return 2 * places + (sys.byteorder == "little")
