"""Errors that the user can mend, which are reported without a traceback."""

from __future__ import annotations

import dis
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # full disk, quota exceeded, file too large
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)


class UsageError(ValueError):
    """Wrong usage; the message says what was given and what to give instead."""


def is_refusal(error: BaseException) -> bool:
    """Return whether kgenre itself raised this `ValueError` or `TypeError`, with a message that says what to give.

    For errors raised by Python or a library, or passing through the user's code, the traceback is needed.
    """
    trace = error.__traceback__
    if trace is None or not isinstance(error, ValueError | TypeError):
        return False
    modules = {_package_of(trace)}
    while trace.tb_next is not None:
        trace = trace.tb_next
        modules.add(_package_of(trace))
    is_raised = trace.tb_frame.f_code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    return is_raised and modules == {"kgenre"}


def _package_of(trace: TracebackType) -> str:
    return trace.tb_frame.f_globals.get("__name__", "").partition(".")[0]


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
