"""Finds the lines of a traceback that the user wrote, and defines errors that show only these in a notebook."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
import traceback
from pathlib import Path
from types import TracebackType

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
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    name_cell = getattr(getattr(shell, "compile", None), "format_code_name", lambda file: None)
    name = " ".join(name_cell(line.filename) or [Path(line.filename).name])
    return f"{name}, line {line.lineno} ({line.line})"


class ShortTraceback:
    """A mixin for errors whose message says what to do: a notebook shows it below the user's own lines only.

    ``%debug`` still sees the whole traceback.
    """

    def _render_traceback_(self: BaseException) -> list[str]:  # type: ignore[misc]  # IPython calls it
        return [*map(described, users_lines(self.__traceback__)), f"{type(self).__name__}: {self}"]
