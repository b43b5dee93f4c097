"""Errors in how the user calls kgenre, which are reported without a traceback."""

from __future__ import annotations

import dis
from types import TracebackType


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
