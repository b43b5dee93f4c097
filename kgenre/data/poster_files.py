"""What a poster file is before it is decoded: safe to open, its size from the header, its contents' hash."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from functools import lru_cache
from typing import NamedTuple

# The largest poster seen in film data has 1.5 megapixels and 2 MB. A picture of 400 megapixels fits in a PNG of 388 kB
# and needs 1.2 GB to decode.
MAX_PIXELS = 50_000_000
MAX_BYTES = 64 << 20
# Only decoders of pictures that posters come in: Pillow also knows formats that run other programs.
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".avif")  # the likeliest first
PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")


class PosterFile(NamedTuple):
    """A poster file as its header and contents have it.

    Args:
        reason: why it cannot be used; "" where nothing speaks against it so far.
        sha256: of its bytes; b"" where they were not read.
        height, width: in pixels, as stored.
        plain: a grey or colour JPEG without EXIF, which every decoder reads alike.
    """

    reason: str = ""
    sha256: bytes = b""
    height: int = 0
    width: int = 0
    plain: bool = False


def usable_cpus() -> int:
    """The processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a regular file of at most 64 MiB.

    Raises:
        OSError: it cannot be opened, is no regular file (a pipe would wait forever), or is too large.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(descriptor)
        if reason := refusal(status):
            raise OSError(reason)
        return os.read(descriptor, status.st_size)
    finally:
        os.close(descriptor)


def reason_of(error: OSError) -> str:
    """Why a file could not be read, in words for people."""
    reasons = {
        IsADirectoryError: "a folder, not a file",
        FileNotFoundError: "no such file",
        NotADirectoryError: "no such file",
        PermissionError: "the file may not be read",
    }
    return reasons.get(type(error)) or error.strerror or str(error)


def refusal(status: os.stat_result) -> str:
    """Why a file with this status is not read; "" if it may be."""
    if stat.S_ISDIR(status.st_mode):
        return "a folder, not a file"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    if not status.st_size:
        return "the file is empty"
    return f"{status.st_size >> 20} MB are too many" if status.st_size > MAX_BYTES else ""


def examine_file(path: str | os.PathLike[str]) -> PosterFile:
    """Read a file and look at it."""
    try:
        data = read_file(path)
    except OSError as error:
        return PosterFile(reason_of(error))
    return examine_bytes(data)


def examine_bytes(data: bytes) -> PosterFile:
    """The same for the contents of a file."""
    sha256 = hashlib.sha256(data).digest()
    reason, height, width, plain = _jpeg_header(data) or _other_header(data)
    if height * width > MAX_PIXELS:
        reason = f"{width} x {height} pixels are too many"
    return PosterFile(reason, sha256, height, width, plain)


def _jpeg_header(data: bytes) -> tuple[str, int, int, bool] | None:
    """("", height, width, plain) from a JPEG's frame header; None where there is none to be found."""
    if data[:2] != b"\xff\xd8":
        return None
    position, exif = 2, False
    while position + 9 < len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:  # a byte that only fills
            position += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(data[position + at : position + at + 2]) for at in (5, 7))
            # Three components or one; four are CMYK, in one of several conventions.
            plain = not exif and data[position + 9] in (1, 3) and data[position + 4] == 8
            return ("", height, width, plain) if height and width else None
        exif = exif or (marker == 0xE1 and data[position + 4 : position + 8] == b"Exif")
        position += 2 + int.from_bytes(data[position + 2 : position + 4])
    return None


def _other_header(data: bytes) -> tuple[str, int, int, bool]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=picture_formats()) as image:  # reads the header only
            return "", image.height, image.width, False
    except UnidentifiedImageError:
        return "not a picture that is known", 0, 0, False
    except Image.DecompressionBombError:
        return "too many pixels", 0, 0, False
    except Exception as error:  # decoders meet arbitrary bytes, and raise whatever these bytes lead to
        return damaged(error), 0, 0, False


def damaged(error: Exception) -> str:
    """A decoder's complaint as a reason."""
    return f"a damaged picture ({(str(error).splitlines() or [''])[0][:100] or type(error).__name__})"


@lru_cache
def picture_formats() -> tuple[str, ...]:
    """Those of ``PICTURE_FORMATS`` that this Pillow can read."""
    from PIL import Image

    Image.init()  # a Pillow that was built without AVIF or WebP does not know the name
    return tuple(name for name in PICTURE_FORMATS if name in Image.OPEN)
