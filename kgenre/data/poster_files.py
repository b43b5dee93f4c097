"""What a poster file is before it is decoded: safe to open, its size from the header, its contents' hash.

Looked up in a cache by path, size and time of change, so that a second run opens no file for it.
"""

from __future__ import annotations

import hashlib
import io
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from kgenre.data.uncollected import uncollected
from kgenre.engines.cache_folder import cache_folder

# The largest poster seen in film data has 1.5 megapixels and 2 MB. A picture of 400 megapixels fits in a PNG of 388 kB
# and needs 1.2 GB to decode.
MAX_PIXELS = 50_000_000
MAX_BYTES = 64 << 20
# Only decoders of pictures that posters come in: Pillow also knows formats that run other programs.
PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")
_FILES_PER_TASK = 64
_CACHE_VERSION = 1  # raise it when PosterFile's fields, or what is refused, change
_Known = tuple[int, int, tuple[str, bytes, int, int, bool]]  # size, time of change, PosterFile's fields
_UNKNOWN: _Known = (-1, 0, ("", b"", 0, 0, False))


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


def examine_posters(
    paths: Sequence[Path | None],
    root: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[PosterFile]:
    """Look at poster files, in parallel; what is known of a file from before is taken from the cache.

    Args:
        paths: None where a film has no poster.
        root: the folder that every file must lie in, symbolic links followed; None for anywhere.
        on_progress: called with (files looked at, all files) now and then.

    Example:
        >>> [found] = examine_posters([Path("posters/tt0084058.jpg")])
        >>> found.reason, found.height, found.width
        ('', 450, 300)
    """
    found: list[PosterFile] = [PosterFile("no poster is named for it")] * len(paths)
    folders = _Folders(root)
    new: list[tuple[int, str, int, int]] = []  # (position, path, size, time of change)
    with closing(_Cache()) as cache, uncollected():
        known: dict[str, dict[str, _Known]] = {}  # by folder, as it is given
        for i, path in enumerate(paths):
            if path is None:
                continue
            folder, name = os.path.split(path)
            if folder not in known:
                known[folder] = cache.read(os.path.abspath(folder))
            try:
                status = folders.status(os.fspath(path), folder)
            except OSError as error:
                found[i] = PosterFile(reason_of(error))
                continue
            if isinstance(status, str):
                found[i] = PosterFile(status)
                continue
            size, changed, file = known[folder].get(name, _UNKNOWN)
            if size == status.st_size and changed == status.st_mtime_ns:
                found[i] = PosterFile._make(file)
            else:
                new.append((i, os.path.abspath(path), status.st_size, status.st_mtime_ns))
        done, lock = len(paths) - len(new), threading.Lock()

        def examine_some(first: int) -> None:
            nonlocal done
            some = new[first : first + _FILES_PER_TASK]
            for i, path, _, _ in some:
                found[i] = _examine(path)
            with lock:
                done += len(some)
                if on_progress:
                    on_progress(done, len(paths))

        with ThreadPoolExecutor(usable_cpus()) as threads:
            list(threads.map(examine_some, range(0, len(new), _FILES_PER_TASK)))
        cache.write((path, size, changed, found[i]) for i, path, size, changed in new if found[i].sha256)
    return found


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
        if reason := _refusal(status):
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


class _Folders:
    """Whether files lie under ``root``; a folder is resolved once, not once for each of its files."""

    def __init__(self, root: Path | None) -> None:
        self.root = os.path.realpath(root) if root else None
        self._inside: dict[str, bool] = {}

    def status(self, path: str, folder: str) -> os.stat_result | str:
        """The status of a file in a folder, or why it is refused."""
        status = os.lstat(path)
        if self.root:
            if folder not in self._inside:
                self._inside[folder] = self._is_inside(os.path.realpath(folder))
            is_link = stat.S_ISLNK(status.st_mode)
            if not self._inside[folder] or (is_link and not self._is_inside(os.path.realpath(path))):
                return f"it lies outside of {self.root}"
        if stat.S_ISLNK(status.st_mode):
            status = os.stat(path)
        return _refusal(status) or status

    def _is_inside(self, resolved: str) -> bool:
        return resolved == self.root or resolved.startswith(self.root.rstrip(os.sep) + os.sep)


def _refusal(status: os.stat_result) -> str:
    if stat.S_ISDIR(status.st_mode):
        return "a folder, not a file"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    if not status.st_size:
        return "the file is empty"
    return f"{status.st_size >> 20} MB are too many" if status.st_size > MAX_BYTES else ""


def _examine(path: str) -> PosterFile:
    try:
        data = read_file(path)
    except OSError as error:
        return PosterFile(reason_of(error))
    return examine_bytes(data)


def examine_bytes(data: bytes) -> PosterFile:
    """The same for the contents of a file."""
    sha256 = hashlib.sha256(data).digest()
    header = _jpeg_header(data)
    if header is None:
        header = (*_other_header(data), False)
    reason, height, width, plain = header
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


def _other_header(data: bytes) -> tuple[str, int, int]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=picture_formats()) as image:  # reads the header only
            return "", image.height, image.width
    except UnidentifiedImageError:
        return "not a picture that is known", 0, 0
    except Image.DecompressionBombError:
        return "too many pixels", 0, 0
    except Exception as error:  # decoders meet arbitrary bytes, and raise whatever these bytes lead to
        return damaged(error), 0, 0


def damaged(error: Exception) -> str:
    """A decoder's complaint as a reason."""
    return f"a damaged picture ({(str(error).splitlines() or [''])[0][:100] or type(error).__name__})"


@lru_cache
def picture_formats() -> tuple[str, ...]:
    """Those of ``PICTURE_FORMATS`` that this Pillow can read."""
    from PIL import Image

    Image.init()  # a Pillow that was built without AVIF or WebP does not know the name
    return tuple(name for name in PICTURE_FORMATS if name in Image.OPEN)


class _Cache:
    """What is known of files, in an SQLite file in the user's cache; without one where that cannot be written."""

    def __init__(self) -> None:
        self._file = cache_folder() / f"poster-files-v{_CACHE_VERSION}.sqlite"
        self._database: sqlite3.Connection | None = None
        self._open()

    def _open(self) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._file, timeout=30)
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS files (folder TEXT, name TEXT, size INT, changed INT, reason TEXT, "
                "sha256 BLOB, height INT, width INT, plain INT, PRIMARY KEY (folder, name)) WITHOUT ROWID"
            )
        except (OSError, sqlite3.Error):
            self.close()

    def read(self, folder: str) -> dict[str, _Known]:
        """What is known of the files of a folder, by name."""
        if self._database is None:
            return {}
        try:
            rows = self._database.execute("SELECT * FROM files WHERE folder = ?", (folder,))
            return {
                name: (size, changed, (reason, sha256, height, width, plain == 1))
                for _, name, size, changed, reason, sha256, height, width, plain in rows
            }
        except sqlite3.Error:  # a damaged file: what it says does not count, and it is begun anew
            self._discard()
            return {}

    def write(self, files: Sequence[tuple[str, int, int, PosterFile]]) -> None:
        """Remember files."""
        rows = [(*os.path.split(path), size, changed, *file) for path, size, changed, file in files]
        if not rows or self._database is None:
            return
        with suppress(sqlite3.Error), self._database:  # on a full disk the next run looks again
            self._database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def close(self) -> None:
        """Let the file go."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _discard(self) -> None:
        self.close()
        with suppress(OSError):
            self._file.unlink()
        self._open()
