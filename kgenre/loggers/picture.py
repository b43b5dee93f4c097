"""Encodes arrays of pixels as PNG."""

from __future__ import annotations

import io
from typing import Any


def png_of(name: str, image: Any) -> bytes:
    """Return the PNG of (height, width) or (height, width, 1 or 3): uint8, or float from 0 to 1 (clipped).

    Bytes are taken for a PNG, and returned unchanged.

    Raises:
        ValueError: an array of another shape or type; the message contains ``name``.
    """
    if isinstance(image, bytes):
        return image
    import numpy as np
    from PIL import Image

    pixels = np.asarray(image)
    got = f"{pixels.dtype} of shape {pixels.shape}"
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.dtype.name == "bfloat16":  # of mixed precision; to NumPy it is no float
        pixels = pixels.astype(np.float32)
    if pixels.dtype.kind == "f":
        pixels = np.round(np.clip(np.nan_to_num(pixels), 0, 1) * 255).astype(np.uint8)
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise ValueError(
            f"log_image({name!r}) takes a PNG as bytes, or one picture of shape (height, width) or (height, width, "
            f"1 or 3), uint8 or float from 0 to 1. Received: {got}."
        )
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
