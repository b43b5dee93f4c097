"""Where kgenre keeps what another run may use again."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

_PREFIX = ".making-"
_LEFT_BEHIND = 24 * 3600  # seconds: nothing takes that long to make


def cache_folder() -> Path:
    """``$KGENRE_CACHE``, else ``$XDG_CACHE_HOME/kgenre``, else ``~/.cache/kgenre``."""
    if os.environ.get("KGENRE_CACHE"):
        return Path(os.environ["KGENRE_CACHE"]).expanduser()
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "kgenre"
    return Path.home() / ".cache" / "kgenre"


@contextmanager
def in_the_making(parent: Path) -> Iterator[Path]:
    """A new folder in ``parent``, which is one of the cache: what is made there is moved into place when it is whole.

    It is removed in the end, and with it what processes that were killed left there a day ago or longer.

    Raises:
        OSError: the cache cannot be written.

    Example:
        >>> with in_the_making(cache_folder() / "notes") as making:
        ...     (making / "a.txt").write_text("whole")
        ...     (making / "a.txt").replace(making.parent / "a.txt")
    """
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another process was faster
            if time.time() - left.stat().st_mtime > _LEFT_BEHIND:
                shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=parent, prefix=_PREFIX) as making:
        yield Path(making)


def keep(file: Path, write: Callable[[BinaryIO], Any], most: int) -> None:
    """Write a file of the cache, whole or not at all; of its folder only the ``most`` files used last stay.

    What cannot be written, on a full disk say, the next run works out again.

    Args:
        file: in a folder of the cache that has such files alone.
        write: is given the open file.
        most: files; at least 1.

    Example:
        >>> keep(cache_folder() / "notes" / "a.txt", lambda out: out.write(b"whole"), most=8)
    """
    with suppress(OSError), in_the_making(file.parent) as making:
        made = making / file.name
        with made.open("wb") as out:
            write(out)
            out.flush()
            os.fsync(out.fileno())
        made.replace(file)
    leave_last_used(file.parent, most)


def leave_last_used(folder: Path, most: int) -> None:
    """Remove all but the ``most`` files and folders of a folder of the cache that were made or used last."""
    with suppress(OSError):  # another process was faster
        whole = (one for one in folder.iterdir() if not one.name.startswith(_PREFIX))
        for old in sorted(whole, key=lambda one: one.stat().st_mtime)[:-most]:
            if old.is_dir():
                shutil.rmtree(old)
            else:
                old.unlink()


def note_use(path: Path) -> None:
    """Mark a file or folder of the cache as used now, so that it is not among those removed next."""
    with suppress(OSError):  # a cache that others fill, and this user may only read
        os.utime(path)
