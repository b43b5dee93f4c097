"""Examination of a poster file before decoding: safe to open, its size from the header, a hash of its contents."""

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
# Only formats that posters come in: for some others, such as EPS, Pillow runs an external program.
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".avif")  # the likeliest first
UNREAD_SUFFIXES = (".tif", ".tiff", ".heic", ".heif", ".jxl", ".jp2", ".svg")  # of pictures, to be named in messages
DAMAGED = "the picture is damaged"
PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")


class PosterFile(NamedTuple):
    """What is known about a poster file from its header and contents.

    Args:
        reason: why it cannot be used; "" if no problem is known so far.
        sha256: of its bytes; b"" if they were not read.
        height, width: in pixels, as stored.
        plain: whether it is a grey or colour JPEG without EXIF, which every decoder reads the same way.
    """

    reason: str = ""
    sha256: bytes = b""
    height: int = 0
    width: int = 0
    plain: bool = False


def usable_cpus() -> int:
    """Return the number of processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a regular file of at most 64 MiB.

    Raises:
        OSError: it cannot be opened, is not a regular file (reading a pipe may block forever), is empty or too large.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(descriptor)
        if reason := refusal(status):
            raise OSError(reason)
        # `os.read` may return less than is there, on a network file system for example.
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(status.st_size)
    finally:
        os.close(descriptor)


def reason_of(error: OSError) -> str:
    """Return a message for the user on why a file could not be read."""
    reasons = {
        IsADirectoryError: "a folder, not a file",
        FileNotFoundError: "no such file",
        NotADirectoryError: "no such file",
        PermissionError: "no permission to read the file",
    }
    return reasons.get(type(error)) or error.strerror or str(error)


def refusal(status: os.stat_result) -> str:
    """Return why a file with this status must not be read; "" if it may be."""
    if stat.S_ISDIR(status.st_mode):
        return "a folder, not a file"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    if not status.st_size:
        return "the file is empty"
    if status.st_size > MAX_BYTES:
        return f"too large ({status.st_size >> 20} MB, at most {MAX_BYTES >> 20} are allowed)"
    return ""


def examine_file(path: str | os.PathLike[str]) -> PosterFile:
    """Read a file and examine its contents."""
    try:
        data = read_file(path)
    except OSError as error:
        return PosterFile(reason_of(error))
    sha256 = hashlib.sha256(data).digest()
    reason, height, width, plain = _jpeg_header(data) or _other_header(data)
    if height * width > MAX_PIXELS:
        reason = f"too many pixels ({width} x {height}, at most {MAX_PIXELS // 10**6} million are allowed)"
    return PosterFile(reason, sha256, height, width, plain)


def _jpeg_header(data: bytes) -> tuple[str, int, int, bool] | None:
    """Return ("", height, width, plain) from a JPEG's frame header; None if there is none."""
    if data[:2] != b"\xff\xd8":
        return None
    position, exif = 2, False
    while position + 9 < len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(data[position + at : position + at + 2]) for at in (5, 7))
            # One or three components; four are CMYK, for which there are several conventions.
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
        return "not a picture in a supported format", 0, 0, False
    except Image.DecompressionBombError:
        return "too many pixels", 0, 0, False
    except Exception as error:  # decoders may raise anything on arbitrary bytes
        return damaged(error), 0, 0, False


def damaged(error: Exception) -> str:
    """Return a decoder's error as a reason for `PosterFile`."""
    return f"{DAMAGED} ({(str(error).splitlines() or [''])[0][:100] or type(error).__name__})"


@lru_cache
def picture_formats() -> tuple[str, ...]:
    """Return those of ``PICTURE_FORMATS`` that the installed Pillow can read."""
    from PIL import Image

    Image.init()  # Image.open raises a KeyError for formats that Pillow was built without, such as AVIF or WebP
    return tuple(name for name in PICTURE_FORMATS if name in Image.OPEN)
