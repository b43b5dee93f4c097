"""A heat map of what a network looks at, drawn over a poster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kgenre.data.poster_resizing import SCALES, fit

if TYPE_CHECKING:
    from PIL import Image


def draw_heat(
    poster: Image.Image, heat: npt.NDArray[np.floating], image_size: tuple[int, int], resize: str
) -> Image.Image:
    """Return a poster in grey with ``heat`` in orange.

    The heat is placed where the network saw it: with "letterbox" without the black bars, with "crop" in the middle, and
    nowhere else.

    Args:
        poster: the whole poster.
        heat: (h, w) in [0, 1], from `grad_cam`.
        image_size: (height, width) of the posters that the network reads, in pixels.
        resize: how they are resized; see `FilmData`.
    """
    from PIL import Image

    found = fit(poster.height, poster.width, image_size, resize)
    top, left, height, width = (SCALES[found.scale] * length for length in found.window)
    edges = []  # of the poster within the heat map, in its cells: first and last row, first and last column
    for cells, side, inner in zip(heat.shape, image_size, found.inner, strict=True):
        first = (side - inner) // 2
        edges.append((first * cells / side, (first + inner) * cells / side))
    (upper, lower), (before, after) = edges
    seen = Image.fromarray((heat * 255).astype(np.uint8))
    mask = Image.new("L", poster.size)
    mask.paste(seen.resize((width, height), Image.Resampling.BICUBIC, (before, upper, after, lower)), (left, top))
    strength = np.asarray(mask, np.float32)[..., None] / 255
    grey = np.asarray(poster, np.float32).mean(axis=2, keepdims=True) * 0.6 + 50
    warm = np.array([255.0, 120.0, 0.0])
    mixed = grey * (1 - 0.65 * strength) + warm * 0.65 * strength
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))
