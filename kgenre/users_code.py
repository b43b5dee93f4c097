"""Which lines of a traceback a user wrote, and errors that show no others in a notebook."""

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
    """The lines outside Python, kgenre and installed packages, the innermost last."""
    return [line for line in traceback.extract_tb(trace) if is_users(line.filename)]


def is_users(filename: str) -> bool:
    """Whether a file of code, or a notebook's cell, is none of Python's, kgenre's or an installed package's."""
    # Packages lie elsewhere too: in the user's home, in the environment that this one was made from. Compiled ones
    # (Cython's) name their sources, which are nowhere.
    return not filename.startswith(_NOT_THE_USERS) and not re.search(r"[/\\](site|dist)-packages[/\\]|\.pyx$", filename)


def described(line: traceback.FrameSummary) -> str:
    """Where it is and what it says; a notebook's cell by its number, for its code lies in a file of a random name."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    name_cell = getattr(getattr(shell, "compile", None), "format_code_name", lambda file: None)
    name = " ".join(name_cell(line.filename) or [Path(line.filename).name])
    return f"{name}, line {line.lineno} ({line.line})"


class ShortTraceback:
    """An error whose message says what to do: a notebook shows it below the user's own lines, without those of others.

    ``%debug`` still sees all of them.
    """

    def _render_traceback_(self: BaseException) -> list[str]:  # type: ignore[misc]  # IPython asks for it
        return [*map(described, users_lines(self.__traceback__)), f"{type(self).__name__}: {self}"]
