"""Durable writes, synced to the disk, and safe reads of files that are not trusted."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PATIENCE = (0.02, 0.1, 0.3, 0.6)  # seconds between attempts to rename


class UnsafeFileError(OSError):
    """A file is not what it should be: a link, a device, of another size, or larger than allowed."""


def read_file(path: Path, size: int | None = None, limit: int | None = None) -> bytes:
    """Read a regular file, never through a link; its size is checked before memory is allocated.

    Args:
        path: the file.
        size: the size that it must have, in bytes; None: any.
        limit: the largest size that it may have, in bytes; None: the memory of this machine.

    Raises:
        UnsafeFileError: it is something else; the message follows its name, as in "is not a regular file".
        FileNotFoundError: there is no such file.
    """
    if path.is_symlink():  # not every system has O_NOFOLLOW
        raise UnsafeFileError("is a link, which a checkpoint must not contain")
    # Without O_NONBLOCK, opening a pipe would block until somebody writes to it.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise UnsafeFileError("is not a regular file")
        if size is not None and found.st_size != size:
            raise UnsafeFileError(f"has {found.st_size} bytes instead of {size}")
        if found.st_size > (limit or _memory()):
            raise UnsafeFileError(f"has {found.st_size} bytes, more than the limit of {limit or _memory()}")
        return file.read(found.st_size)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    path.write_bytes(content)
    sync_file(path)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the file system name ``path``, not the temporary file or folder that is to replace it.

    Without this, an error while writing to an open file has no name at all.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None:  # a message alone would be lost
            error.filename = str(path)
            del error.filename2  # the target, if it was moved: set to None, it would be printed
        raise


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file beside ``path``, which replaces ``path`` after the block unless it failed.

    Of two processes that write the same file, each has its own: one of both files remains, not a mixture. Errors name
    ``path``.

    Example:
        >>> with whole_file(Path("metrics.json")) as partial:
        ...     partial.write_text("{}")
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with naming(path):
        try:
            yield temporary
            move(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def move(path: Path, target: Path) -> None:
    """Rename a file or folder; an existing file at ``target`` is replaced, a folder must not be there."""
    for seconds in _PATIENCE:
        try:
            path.replace(target)
        except PermissionError:  # Windows, while a virus scanner or an indexer has a new file open
            time.sleep(seconds)
        else:
            return
    path.replace(target)


def sync_folder(path: Path) -> None:
    """Wait until a folder's entries are on the disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows cannot open a folder; its renames are journalled
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _memory() -> int:
    if not hasattr(os, "sysconf"):  # Windows
        return 2**40
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
