"""Posters decoded once into a table of pixels; a bad file is named and never stops the others.

Every poster, one or many, goes through `read_poster`, so that a prediction sees the pixels that training saw.
Pillow decodes rather than ``tf.io``: it reads every kind of JPEG (CMYK, greyscale, progressive) and the
other formats that come named ``.jpg``, shows a file's size before decoding it, says what is wrong with it,
decodes JPEGs at a fraction of their size and works in threads. TensorFlow's bare decoder, without the
resize, was measured a quarter faster on two cores.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kgenre.data.errors import FilmDataError
from kgenre.data.film_table import FilmTable, LeftOut

if TYPE_CHECKING:
    from PIL import Image

# A poster of 100 megapixels needs 300 MB to decode; the largest one sees in film data have 1.5.
MAX_PIXELS = 50_000_000
# Only decoders of pictures that posters come in: Pillow also knows formats that run other programs.
PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")
_POSTERS_PER_TASK = 32

Pixels = npt.NDArray[np.uint8]


def read_poster(path: str | os.PathLike[str], image_size: tuple[int, int] = (64, 64)) -> Pixels:
    """Decode one poster and squash it to ``image_size``.

    Args:
        path: a JPEG, PNG, WebP, GIF (first frame), BMP or AVIF file, under any name.
        image_size: (height, width) in pixels.

    Returns:
        uint8 (height, width, 3), red, green, blue in 0..255.

    Raises:
        FilmDataError: no such file, no picture, a damaged picture, or more than 50 million pixels.

    Example:
        >>> read_poster("posters/tt0084058.jpg", (64, 64)).shape
        (64, 64, 3)
    """
    reason, pixels = _decode(Path(path), image_size)
    if reason:
        raise FilmDataError(f"The poster {path} cannot be used: {reason}.")
    return pixels


def read_posters(
    table: FilmTable,
    image_size: tuple[int, int] = (64, 64),
    max_bad_fraction: float = 0.2,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Pixels, list[LeftOut]]:
    """Decode the posters of all films, in parallel.

    Args:
        table: the films.
        image_size: (height, width) in pixels.
        max_bad_fraction: more missing and bad posters than this share of the films is an error.
        on_progress: called with (posters read, all posters) now and then.

    Returns:
        uint8 (n, height, width, 3), zeros where a poster is bad, and the bad ones with their reasons.

    Raises:
        FilmDataError: more than ``max_bad_fraction`` are missing or bad.
    """
    pixels = np.zeros((len(table), *image_size, 3), np.uint8)
    reasons: list[str] = [""] * len(table)
    done, lock = 0, threading.Lock()

    def read_some(first: int) -> None:
        nonlocal done
        last = min(first + _POSTERS_PER_TASK, len(table))
        for i in range(first, last):
            path = table.poster_paths[i]
            reason, poster = _decode(path, image_size) if path else ("no poster is named for it", None)
            reasons[i] = reason
            if poster is not None:
                pixels[i] = poster
        with lock:
            done += last - first
            if on_progress:
                on_progress(done, len(table))

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        # list() re-raises what a thread raised; on Ctrl-C the executor drops what has not begun.
        list(threads.map(read_some, range(0, len(table), _POSTERS_PER_TASK)))
    bad = [LeftOut(film_id, reason) for film_id, reason in zip(table.ids, reasons, strict=True) if reason]
    if len(bad) > max_bad_fraction * len(table):
        _raise_too_many(table, bad)
    return pixels, bad


def _raise_too_many(table: FilmTable, bad: Sequence[LeftOut]) -> None:
    first = "; ".join(f"{film_id}: {reason}" for film_id, reason in bad[:3])
    missing = sum(path is None or not path.exists() for path in table.poster_paths)
    if missing == len(table):
        folder = next((path.parent for path in table.poster_paths if path), None)
        where = f"in {folder}" if folder else "(looked for a folder Images or posters beside the CSV file)"
        raise FilmDataError(
            f"None of the {len(table)} films of {table.source} has a poster {where}. "
            "Put the posters there, or use --data.posters false."
        )
    share = min(1.0, np.ceil(100 * len(bad) / len(table)) / 100)
    raise FilmDataError(
        f"{len(bad)} of {len(table)} posters cannot be used ({missing} missing): {first}.\n"
        f"Complete the folder, or go on without these films: --data.max_bad_fraction {share:.2g}."
    )


def _decode(path: Path, image_size: tuple[int, int]) -> tuple[str, Pixels | None]:
    """(reason, None) or ("", pixels)."""
    from PIL import Image, UnidentifiedImageError

    height, width = image_size
    try:
        with path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                return "the file is empty", None
            image = Image.open(file, formats=_formats())  # reads the header only
            if image.width * image.height > MAX_PIXELS:
                return f"{image.width} x {image.height} pixels are too many", None
            image.draft("RGB", (width, height))  # a JPEG is decoded at 1/2, 1/4 or 1/8 where that is large enough
            image = _rgb(image).resize((width, height), Image.Resampling.BILINEAR)
            return "", np.asarray(image)
    except UnidentifiedImageError:
        return "not a picture that is known", None
    except Image.DecompressionBombError:
        return "too many pixels", None
    except IsADirectoryError:
        return "a folder, not a file", None
    except FileNotFoundError:
        return "no such file", None
    except PermissionError:
        return "the file may not be read", None
    except Exception as error:  # decoders meet arbitrary bytes, and raise whatever these bytes lead to
        return f"a damaged picture ({str(error).splitlines()[0][:100] or type(error).__name__})".strip(), None


@lru_cache
def _formats() -> tuple[str, ...]:
    from PIL import Image

    Image.init()  # a Pillow that was built without AVIF or WebP does not know the name
    return tuple(name for name in PICTURE_FORMATS if name in Image.OPEN)


def _rgb(image: Image.Image) -> Image.Image:
    from PIL import Image, ImageOps

    if image.info.get("exif"):
        image = ImageOps.exif_transpose(image)  # a phone's photograph lies on its side without this
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):  # Pillow would clip 16 bits, not scale them
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:  # what a transparent pixel is coloured underneath is arbitrary
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


class ProgressLine:
    """A rich progress bar, on a terminal, for what turns out to take more than a few seconds.

    Example:
        >>> with ProgressLine("Reading posters") as progress:
        ...     pixels, bad = read_posters(table, on_progress=progress)
    """

    def __init__(self, text: str, after_seconds: float = 3.0) -> None:
        self.text = text
        self.show_at = time.monotonic() + after_seconds
        self._bar = None

    def __enter__(self) -> ProgressLine:
        return self

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are done."""
        if self._bar is None:
            if time.monotonic() < self.show_at:
                return
            from rich.progress import Progress

            self._bar = Progress(transient=True)
            self._task = self._bar.add_task(self.text, total=total)
            self._bar.start()
        self._bar.update(self._task, completed=done)

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()
