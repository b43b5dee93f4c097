"""Where kgenre keeps what another run may use again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$KGENRE_CACHE``, else ``$XDG_CACHE_HOME/kgenre``, else ``~/.cache/kgenre``."""
    if os.environ.get("KGENRE_CACHE"):
        return Path(os.environ["KGENRE_CACHE"]).expanduser()
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "kgenre"
    return Path.home() / ".cache" / "kgenre"
