"""An array of pixels as a PNG."""

from __future__ import annotations

import io
from typing import Any


def png_of(name: str, image: Any) -> bytes:
    """The PNG of (height, width) or (height, width, 1 or 3): uint8, or float from 0 to 1 (what is beyond is cut off).

    Bytes are a PNG already.

    Raises:
        ValueError: an array of another shape or type; it says ``name``.
    """
    if isinstance(image, bytes):
        return image
    import numpy as np
    from PIL import Image

    pixels = np.asarray(image)
    got = f"{pixels.dtype} of shape {pixels.shape}"
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
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
