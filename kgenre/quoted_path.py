"""Quotes paths in commands that are shown to the user."""

from __future__ import annotations

import os
import re

_SPECIAL = re.compile(r"[\s'&;()<>|*?#]")


def quoted_path(path: str | os.PathLike[str]) -> str:
    """Return the path, in double quotes if a shell would otherwise misread it.

    Example:
        >>> quoted_path("runs/lstm/version_0"), quoted_path("my runs/lstm")
        ('runs/lstm/version_0', '"my runs/lstm"')
    """
    text = os.fspath(path)
    return f'"{text}"' if _SPECIAL.search(text) else text
