"""Finds the lines of a traceback that the user wrote, and lets a notebook show only these."""

from __future__ import annotations

import inspect
import os
import re
import sys
import sysconfig
import traceback
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

_FOLDERS = {*(sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")), str(Path(__file__).parent)}
_NOT_THE_USERS = (*(os.path.join(folder, "") for folder in _FOLDERS), "<frozen")


def users_lines(trace: TracebackType | None) -> list[traceback.FrameSummary]:
    """Return the lines outside Python, kgenre and installed packages, the innermost last."""
    return [line for line in traceback.extract_tb(trace) if is_users(line.filename)]


def is_users(filename: str) -> bool:
    """Return whether a source file or notebook cell is not part of Python, kgenre or an installed package."""
    # Packages may also lie elsewhere: in the user's home, or in the environment that a virtual one is based on. Cython
    # modules name .pyx sources, which are not installed.
    return not filename.startswith(_NOT_THE_USERS) and not re.search(r"[/\\](site|dist)-packages[/\\]|\.pyx$", filename)


def described(line: traceback.FrameSummary) -> str:
    """Describe a line by file, number and code; a notebook cell by its own number, as its file has a random name."""
    name_cell = getattr(getattr(_ipython(), "compile", None), "format_code_name", lambda file: None)
    name = " ".join(name_cell(line.filename) or [Path(line.filename).name])
    return f"{name}, line {line.lineno} ({line.line})"


class ShortTraceback:
    """A mixin for errors whose message says what to do: a notebook shows it below the user's own lines only.

    ``%debug`` still sees the whole traceback.
    """

    def _render_traceback_(self: BaseException) -> list[str]:  # type: ignore[misc]  # IPython calls it
        return [*map(described, users_lines(self.__traceback__)), f"{type(self).__name__}: {self}"]


def hide_library_frames(error: BaseException) -> None:
    """Let IPython show only the user's part of a traceback: the call of kgenre, and the line of theirs that it led to.

    In full, an error in a step has some 150 lines of kgenre and the backend. As in JAX, their frames are marked, not
    removed: ``%debug`` and ``traceback.print_last()`` have all. An error in kgenre itself is shown in full.
    """
    if _ipython() is None:
        return
    frames = [frame for each in _chain(error) for frame, _ in traceback.walk_tb(each.__traceback__)]
    if not isinstance(error, KeyboardInterrupt) and not any(is_users(frame.f_code.co_filename) for frame in frames):
        return
    caller: FrameType | None = sys._getframe(1)  # the traceback does not have these yet
    while caller is not None and not is_users(caller.f_code.co_filename):
        frames.append(caller)
        caller = caller.f_back
    for frame in frames:
        # The locals of a module's frame are its globals.
        if not is_users(frame.f_code.co_filename) and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            frame.f_locals["__tracebackhide__"] = True


def _chain(error: BaseException | None) -> list[BaseException]:
    """The error and those that led to it."""
    errors: list[BaseException] = []
    while error is not None and error not in errors:
        errors.append(error)
        error = error.__cause__ or error.__context__
    return errors


def _ipython() -> Any:
    """The running IPython, on a terminal or in a notebook; None elsewhere."""
    return getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
