"""Errors of the file system on writing, reported with the option that chooses another folder."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kgenre.cli.usage import UsageError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # full disk, quota exceeded, file too large
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def writing_below(folder: Path | str, instead: str) -> Iterator[None]:
    """If a file below ``folder`` cannot be written, raise an error that says so, and what to do ``instead``.

    Raises:
        UsageError: writing there is not permitted, or the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL and error.filename is None:  # a failed write, unlike a failed open, has no name
            error.filename = str(folder)
        root, path = Path(folder).absolute(), Path(str(error.filename)).absolute()
        if (
            error.errno not in (*_REFUSED, *FULL)
            or error.filename is None
            or not (path.is_relative_to(root) or path in root.parents)
        ):
            raise
        room = "make room there, or " if error.errno in FULL else ""
        raise UsageError(f"{error.filename} cannot be written ({error.strerror}): {room}{instead}.") from error
