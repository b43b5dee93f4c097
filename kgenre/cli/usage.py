"""Errors for the user: of arguments that do not go together, and which of kgenre's others are."""

from __future__ import annotations

import dis
from types import TracebackType


class UsageError(ValueError):
    """The message says what was given and what to give."""


def is_refusal(error: BaseException) -> bool:
    """Whether a statement of kgenre's raised a `ValueError` or `TypeError`: its message says what to give.

    Of one that Python or a library raised, or that came through code of the user's, the traceback is wanted.
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
