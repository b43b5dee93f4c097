"""Quotes paths in commands that are shown to the user."""

from __future__ import annotations

import os
import re
import shlex

_SPECIAL = re.compile(r"[\s'&;()<>|*?#\[\]{}]")
_EXPANDED = re.compile(r'["$`!]')  # in double quotes too


def quoted_path(path: str | os.PathLike[str]) -> str:
    """Return the path, in quotes if a shell would otherwise misread it: double ones where they suffice.

    Example:
        >>> quoted_path("runs/lstm/version_0"), quoted_path("my runs/lstm")
        ('runs/lstm/version_0', '"my runs/lstm"')
    """
    text = os.fspath(path)
    if _EXPANDED.search(text):
        return shlex.quote(text)
    return f'"{text}"' if _SPECIAL.search(text) else text
