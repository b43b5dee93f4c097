"""Augment posters, differently in each epoch: the changes to a film's poster depend only on (seed, epoch, film).

All changes are drawn in NumPy for the whole table at once, and applied to batches of uint8 posters in TensorFlow.
Geometry is a single gather: flip, shift and crop determine where each pixel is taken from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kgenre.data.errors import FilmDataError

if TYPE_CHECKING:
    import tensorflow as tf

_GREY = 128  # the value of erased pixels


@dataclass(frozen=True)
class Augmentation:
    """How much posters are changed; 0 means not at all.

    Args:
        flip: probability of mirroring left to right.
        shift: the largest shift up, down, left and right, as a share of height and width; edges are repeated.
        crop: the largest share of height and width that is cut away; the rest is enlarged (nearest pixel).
        color: contrast, brightness and each channel's gain change by up to this share.
        erase: probability that a rectangle of 2 to 20 % of the poster is painted grey (Zhong et al., Random Erasing
            Data Augmentation, https://arxiv.org/abs/1708.04896).

    Raises:
        FilmDataError: a value below 0 or above 1 (``shift`` and ``crop``: 0.9).

    Example:
        >>> Augmentation.of({"flip": 0.5, "color": 0.2}).color
        0.2
    """

    flip: float = 0.0
    shift: float = 0.0
    crop: float = 0.0
    color: float = 0.0
    erase: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, most = getattr(self, field.name), 0.9 if field.name in ("shift", "crop") else 1.0
            if not (isinstance(value, int | float) and 0 <= value <= most):
                raise FilmDataError(f"augment: {field.name}={value!r} must be a number from 0 to {most:g}.")

    @classmethod
    def of(cls, given: bool | Mapping[str, float] | Augmentation) -> Augmentation | None:
        """Convert an ``augment`` argument: True is flip and shift, a dict has shares by name; None if nothing changes.

        Raises:
            FilmDataError: an unknown name, or a value out of range.
        """
        if isinstance(given, Augmentation):
            return given
        if isinstance(given, bool):
            return cls(flip=0.5, shift=0.1) if given else None
        if not isinstance(given, Mapping):
            raise FilmDataError(f"augment={given!r} must be True, False or shares by name: {{'flip': 0.5}}.")
        names = [field.name for field in fields(cls)]
        if unknown := [name for name in given if name not in names]:
            raise FilmDataError(f"augment: {unknown[0]!r} must be one of {', '.join(names)}.")
        return cls(**given) if any(given.values()) else None


def draw_augmentation(
    augmentation: Augmentation, films: int, image_size: tuple[int, int], seed: tuple[int, ...]
) -> dict[str, npt.NDArray[Any]]:
    """Draw one epoch's changes for all films of a table; each kind has its own stream and so never affects another.

    Returns:
        ``geometry`` int32 (n, 5): flip, 0 or 1; shift of the flipped poster down and right, in pixels; height and width
        of the centred window that is enlarged. ``color`` float32 (n, 2, 3): factor and offset of red, green and blue.
        ``erased`` int32 (n, 4): top, left, bottom and right; zeros if nothing is erased.
    """
    size = np.array(image_size)

    def generator(stream: int) -> np.random.Generator:
        return np.random.default_rng([*seed, stream])

    flips = generator(0).random(films) < augmentation.flip
    most = np.floor(size * augmentation.shift).astype(np.int64)
    shifts = generator(1).integers(-most, most + 1, size=(films, 2))
    windows = size - np.round(size * generator(2).random((films, 1)) * augmentation.crop)
    geometry = np.concatenate([flips[:, None], shifts, np.maximum(windows, 1)], 1).astype(np.int32)

    random = generator(3).uniform(-augmentation.color, augmentation.color, (films, 5))
    contrast = 1 + random[:, :1]
    # Contrast scales around middle grey, brightness is added, and each channel has its own gain.
    factor = contrast * (1 + random[:, 2:] / 2)
    offset = np.broadcast_to(_GREY * (1 - contrast) + 255 * random[:, 1:2] / 2, factor.shape)

    erased = np.zeros((films, 4))
    random = generator(4).random((films, 5))
    area, aspect = 0.02 + 0.18 * random[:, 1], np.exp(np.log(3.3) * (2 * random[:, 2] - 1))
    sides = np.stack([np.sqrt(area * aspect), np.sqrt(area / aspect)], 1).clip(max=1) * size
    first = random[:, 3:] * (size - sides)
    chosen = random[:, 0] < augmentation.erase
    erased[chosen] = np.concatenate([first, first + sides], 1)[chosen]
    color = np.stack([factor, offset], 1).astype(np.float32)
    return {"geometry": geometry, "color": color, "erased": np.round(erased).astype(np.int32)}


def augmented(
    posters: tf.Tensor, index: tf.Tensor, augmentation: Augmentation, drawn: Mapping[str, tf.Tensor]
) -> tf.Tensor:
    """Augment a batch of posters.

    Args:
        posters: uint8 (n, H, W, 3).
        index: int (B), rows of ``posters``.
        augmentation: the kinds of change that are used.
        drawn: geometry (B, 5), color (B, 2, 3) and erased (B, 4) of the batch's films; see `draw_augmentation`.

    Returns:
        uint8 (B, H, W, 3). Black posters stay black: they stand for missing ones.
    """
    from kgenre.data.tensorflow import tf

    pixels = _moved(tf, posters, index, drawn["geometry"], augmentation.crop > 0)
    height, width, channels = pixels.shape[1:]
    if augmentation.color or augmentation.erase:
        has_poster = tf.reduce_max(tf.reshape(pixels, (-1, height * width * channels)), axis=1) > 0
    if augmentation.color:
        # Flattened to whole rows: broadcasting over the channels alone takes three times as long.
        color = drawn["color"] * tf.cast(has_poster, tf.float32)[:, None, None]
        factor, offset = tf.unstack(tf.tile(color, (1, 1, width))[:, :, None], axis=1)  # (B, 1, 3 W)
        changed = tf.cast(tf.reshape(pixels, (-1, height, width * channels)), tf.float32) * factor + (offset + 0.5)
        pixels = tf.cast(tf.clip_by_value(changed, 0.0, 255.0), tf.uint8)
        pixels = tf.reshape(pixels, (-1, height, width, channels))
    if augmentation.erase:
        top, left, bottom, right = (drawn["erased"][:, i, None] for i in range(4))
        y, x = (tf.range(side)[None] for side in posters.shape[1:3])
        rows, columns = (y >= top) & (y < bottom) & has_poster[:, None], (x >= left) & (x < right)
        pixels = tf.where((rows[:, :, None] & columns[:, None])[..., None], tf.constant(_GREY, tf.uint8), pixels)
    return pixels


def _moved(tf: Any, posters: tf.Tensor, index: tf.Tensor, geometry: tf.Tensor, crops: bool) -> tf.Tensor:
    films, height, width, channels = posters.shape
    flip, down, right, *window = tf.unstack(geometry[:, :, None], axis=1)  # (B, 1) each
    y, x = tf.range(height)[None], tf.range(width)[None]
    if crops:  # map the centre of each enlarged pixel into the centred window, rounded down
        y, x = (
            (axis * 2 + 1) * cut // (2 * side) + (side - cut) // 2
            for axis, cut, side in zip((y, x), window, (height, width), strict=True)
        )
    # Clipping repeats the edges.
    y = tf.clip_by_value(y - down, 0, height - 1)  # (B, H)
    x = tf.clip_by_value(x - right, 0, width - 1)  # (B, W)
    x = tf.where(flip > 0, width - 1 - x, x)
    integers = tf.int32 if films is not None and films * height * width < 2**31 else tf.int64
    index, y, x = (tf.cast(part, integers) for part in (index, y, x))
    pixel = ((index[:, None] * height + y) * width)[:, :, None] + x[:, None, :]  # (B, H, W)
    return tf.gather(tf.reshape(posters, (-1, channels)), pixel)
