"""Decoding of poster files to pixels of one size.

libjpeg-turbo decodes plain JPEGs, which nearly all posters are, at a half, a quarter or an eighth of their size where
that is large enough. Pillow decodes the rest: other formats, CMYK, rotated photographs, and files that libjpeg-turbo
rejects, for a message about what is wrong. Every poster file, one or many, in a table or streamed, goes through
`decode_posters`, so that a prediction sees the same pixels as training.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kgenre.data.poster_files import MAX_PIXELS, PosterFile, damaged, picture_formats, read_file, reason_of, usable_cpus
from kgenre.data.poster_resizing import SCALES, Fit, Pixels, fit, resize_into

if TYPE_CHECKING:
    from PIL import Image

OnProgress = Callable[[int, int], None]
_POSTERS_AT_ONCE = 32
_AHEAD = 2  # chunks of _POSTERS_AT_ONCE, for each processor, that are decoded ahead of the consumer


class Decoded(NamedTuple):
    """A chunk of decoded posters.

    Args:
        positions: of these n posters in the ``paths`` of `decode_posters`.
        pixels: uint8 (n, H, W, 3), zeros where a poster could not be decoded.
        reasons: why it could not be decoded; "" where it could.
    """

    positions: range
    pixels: Pixels
    reasons: Sequence[str]


def decode_posters(
    paths: Sequence[str | Path | None],
    files: Sequence[PosterFile],
    image_size: tuple[int, int],
    resize: str = "squash",
    out: Pixels | None = None,
    on_progress: OnProgress | None = None,
) -> Iterator[Decoded]:
    """Decode posters in threads, a chunk at a time, in the given order; each is in exactly one `Decoded`.

    Args:
        paths: n files; None or "" where there is none.
        files: what `examine_posters` returned for them; a file with a reason is not opened.
        image_size: (height, width) in pixels.
        resize: "squash" changes the aspect ratio to that of ``image_size``; "letterbox" keeps the whole poster and pads
            it with black; "crop" keeps the middle of the poster, without black.
        out: uint8 (n, H, W, 3), zeros, to write the posters into; the pixels yielded are then views of it.
        on_progress: called with (posters read, n) after each chunk.
    """

    def some(first: int) -> Decoded:
        positions = range(first, min(first + _POSTERS_AT_ONCE, len(paths)))
        pixels = np.zeros((len(positions), *image_size, 3), np.uint8) if out is None else out[first : positions.stop]
        reasons = []
        for i, poster in zip(positions, pixels, strict=True):
            file, path = files[i], paths[i]
            reason = file.reason
            if not reason:
                assert path  # `examine_posters` returns a reason where there is no path
                reason = _read(path, file.plain, resize, out=poster)
            reasons.append(reason)
        return Decoded(positions, pixels, reasons)

    cpus = usable_cpus()
    with ThreadPoolExecutor(cpus) as threads:
        tasks = (threads.submit(some, first) for first in range(0, len(paths), _POSTERS_AT_ONCE))
        begun = deque(islice(tasks, _AHEAD * cpus + 1))
        try:
            while begun:
                found = begun.popleft().result()
                yield found
                begun.extend(islice(tasks, 1))
                if on_progress:
                    on_progress(found.positions.stop, len(paths))
        finally:  # the consumer may stop early
            for future in begun:
                future.cancel()


def _read(path: str | Path, plain: bool, resize: str, out: Pixels) -> str:
    """Decode a poster into ``out``, zeros (H, W, 3), and return ""; or return why that failed."""
    size = out.shape[:2]
    try:
        data = read_file(path)  # it may have been removed since it was examined
    except OSError as error:
        return reason_of(error)
    try:
        decoded = _with_turbo(data, size, resize) if plain else None
        pixels, found = decoded or _reduced(open_picture(data), size, resize)
    except MemoryError:  # says nothing about the file
        return "not enough memory to decode the picture"
    except Exception as error:  # decoders may raise anything on arbitrary bytes
        return damaged(error)
    _place(out, pixels, found)
    return ""


def shrunk(picture: Image.Image | Pixels, image_size: tuple[int, int], resize: str) -> Pixels:
    """Resize a Pillow image or a picture uint8 (h, w, 3) to uint8 (height, width, 3); see `decode_posters`."""
    from PIL import Image

    image = _rgb(Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture)
    out = np.zeros((*image_size, 3), np.uint8)
    _place(out, *_reduced(image, image_size, resize))
    return out


def _place(out: Pixels, pixels: Pixels, found: Fit) -> None:
    """Resize the window of a picture into the middle of ``out``."""
    size = out.shape[:2]
    top, left, height, width = found.window
    rows, columns = found.inner
    down, across = (size[0] - rows) // 2, (size[1] - columns) // 2
    window = out[down : down + rows, across : across + columns]
    resize_into(window, pixels[top : top + height, left : left + width])


def _with_turbo(data: bytes, image_size: tuple[int, int], resize: str) -> tuple[Pixels, Fit] | None:
    """Return a JPEG's pixels at the scale that fits; None if it is too large or libjpeg-turbo reports any problem."""
    import simplejpeg

    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        if height * width > MAX_PIXELS:
            return None
        found = fit(height, width, image_size, resize)
        scale = SCALES[found.scale]
        least = {"min_height": -(-height // scale), "min_width": -(-width // scale)}
        return simplejpeg.decode_jpeg(data, "RGB", **least), found
    except ValueError:
        return None


def _reduced(image: Image.Image, image_size: tuple[int, int], resize: str) -> tuple[Pixels, Fit]:
    found = fit(image.height, image.width, image_size, resize)
    return np.asarray(image.reduce(SCALES[found.scale])), found


def open_picture(data: bytes) -> Image.Image:
    """Return the picture in the bytes of a file: RGB, upright, on white where it is transparent.

    Raises:
        Exception: whatever a decoder raises on arbitrary bytes; a ValueError for more than 50 million pixels.
    """
    from PIL import Image

    file = Image.open(io.BytesIO(data), formats=picture_formats())
    if file.width * file.height > MAX_PIXELS:
        raise ValueError(f"{file.width} x {file.height} pixels, at most {MAX_PIXELS // 10**6} million are allowed")
    return _rgb(file)


def encoded_picture(pixels: Pixels, format: str, **options: int) -> bytes:
    """Return the bytes of a picture file with these pixels, uint8 (h, w, 3), as Pillow saves it with ``options``."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


def _rgb(image: Image.Image) -> Image.Image:
    from PIL import Image, ImageOps

    if image.info.get("exif"):
        image = ImageOps.exif_transpose(image)  # phones store upright photographs rotated
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I;16"):  # Pillow would clip 16 bits, not scale them
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:  # the colour of a transparent pixel is arbitrary
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
