"""What the file system says against writing, with the option that gives another place."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kgenre.cli.usage import UsageError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, the user's share of it, what one file may have
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def writing_below(folder: Path | str, instead: str) -> Iterator[None]:
    """Where a file below ``folder`` may not be written, say so, and what to do ``instead``.

    Raises:
        UsageError: the file system refused a file there, or has no room for it.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL and error.filename is None:  # writing fails without a name, opening with one
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
