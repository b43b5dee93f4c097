"""A path as a part of a command that is shown to be typed."""

from __future__ import annotations

import os
import re

_SPECIAL = re.compile(r"[\s'&;()<>|*?#]")


def quoted_path(path: str | os.PathLike[str]) -> str:
    """The path, in double quotes where a shell would otherwise read it as something else.

    Example:
        >>> quoted_path("runs/lstm/version_0"), quoted_path("my runs/lstm")
        ('runs/lstm/version_0', '"my runs/lstm"')
    """
    text = os.fspath(path)
    return f'"{text}"' if _SPECIAL.search(text) else text
