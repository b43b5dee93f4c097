"""Resizing of posters: at which scale to decode, what to cut, and fast bilinear interpolation."""

from __future__ import annotations

import math
import sys
import threading
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

RESIZE = ("squash", "letterbox", "crop")
SCALES = (1, 2, 4, 8)  # a JPEG can be decoded directly at a half, a quarter or an eighth of its size

Indices = npt.NDArray[np.intp]
Pixels = npt.NDArray[np.uint8]
Shares = npt.NDArray[np.uint16]  # 256ths

_WHOLE, _HALF = np.uint16(256), np.uint16(128)
_TWO_PIXELS = 2.4  # times as high or wide; above it, interpolating between two pixels per axis skips too many


class Fit(NamedTuple):
    """How a picture is resized: scaled down by SCALES[scale], cut to ``window``, interpolated to ``inner``."""

    scale: int
    window: tuple[int, int, int, int]  # top, left, height, width
    inner: tuple[int, int]


@lru_cache(maxsize=4096)  # posters come in few sizes
def fit(height: int, width: int, image_size: tuple[int, int], resize: str) -> Fit:
    """Choose the largest reduction that leaves at least as many pixels as needed, and the steps that follow it.

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
    """Resize bilinearly like ``tf.image.resize``, with half-pixel centers; large reductions are antialiased.

    Uses integers, with weights in 256ths: on real posters one value in eight differs from the exact result, rounded, by
    1; a uniform colour does not change.

    Args:
        out: uint8 (H, W, channels), written to.
        pixels: uint8 (h, w, channels).
    """
    height, width, channels = pixels.shape
    size = out.shape[:2]
    if height > _TWO_PIXELS * size[0] or width > _TWO_PIXELS * size[1]:
        # Much higher or wider than the result: Pillow's filter uses all old pixels that a new one covers.
        from PIL import Image

        out[...] = np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))
        return
    # After scaling down, the factor left is rarely above two, and two pixels per axis are enough. 255 * 256 fits into
    # 16 bits, and NumPy takes a third of the time of Pillow, which mixes more pixels.
    line = width * channels
    mixed, other, step = _scratch.arrays(3, size[0], line)
    lines = step.view(np.uint8).reshape(2 * size[0], line)  # no longer used when `step` is written
    rows, shares = _old_rows(height, size[0])
    # All indices are in range, and mode "wrap" is faster than checking or clipping them.
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
    else:  # each old pixel is the left one of at most one new pixel: mix in place, then gather once
        high_bytes, across = _old_pixels(width, size[1], channels, math.gcd(size[0], 8))
        flat = other.reshape(-1)
        np.subtract(flat[channels:], flat[:-channels], out=step.reshape(-1)[:-channels])
    # Negative differences wrap modulo 65536, which the sum undoes.
    step.reshape(-1, len(across))[...] *= across
    mixed += step
    mixed.view(np.uint8).take(high_bytes, 1, out=out.reshape(size[0], -1), mode="wrap")


class _Scratch(threading.local):
    """Memory that a thread reuses for each poster: allocating it each time took as long as decoding."""

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
    """Return the two old pixels that each new one lies between, and the weight of the second; one for each channel.

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
    """Return the old rows above all new ones followed by the rows below, and the weights (2, after, 1) of both."""
    top, bottom, down = _neighbours(before, after)
    return np.concatenate([top, bottom]), np.stack([_WHOLE - down, down])[..., None]


@lru_cache(maxsize=4096)
def _old_pixels(before: int, after: int, channels: int, rows: int) -> tuple[Indices, Shares]:
    """Return the old pixel at the left of each new one, and for each old pixel the weight of its right neighbour.

    The pixels are returned as their `_high_bytes`, the weights repeated for ``rows`` lines: NumPy multiplies these
    longer rows twice as fast.
    """
    left, _, across = _neighbours(before, after, channels)
    shares = np.zeros(before * channels, np.uint16)
    shares[left] = across
    return _high_bytes(left), np.tile(shares, rows)


def _high_bytes(places: Indices) -> Indices:
    """Return the byte positions of the high bytes of 16-bit values: reading these replaces a shift by 8 bits."""
    return 2 * places + (sys.byteorder == "little")
