"""Errors for the user: of arguments that do not go together, and which of kgenre's others are."""

from __future__ import annotations

import dis
import traceback


class UsageError(ValueError):
    """The message says what was given and what to give."""


def is_refusal(error: BaseException) -> bool:
    """Whether a statement of kgenre's raised a `ValueError` or `TypeError`: its message says what to give.

    Of one that Python or a library raised, or that came through code of the user's, the traceback is wanted.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    modules = {frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in frames}
    if modules != {"kgenre"} or not isinstance(error, ValueError | TypeError):
        return False
    last = error.__traceback__
    while last.tb_next is not None:
        last = last.tb_next
    return last.tb_frame.f_code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]
