"""The cache folder, where kgenre keeps files for later runs."""

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
_LEFT_BEHIND = 24 * 3600  # seconds: no file takes that long to write


def cache_folder() -> Path:
    """``$KGENRE_CACHE``, else ``$XDG_CACHE_HOME/kgenre``, else ``~/.cache/kgenre``.

    For a process without a home (an unknown user id in a container) it is in the system's temporary folder.
    """
    if os.environ.get("KGENRE_CACHE"):
        return Path(os.path.expanduser(os.environ["KGENRE_CACHE"]))
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "kgenre"
    home = os.path.expanduser("~")  # pathlib's own raises an error if there is none
    return Path(tempfile.gettempdir() if home == "~" else home) / ".cache" / "kgenre"


@contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """A temporary folder in ``parent``, a cache folder: files are written there and moved into place when complete.

    It is removed at the end. Temporary folders that killed processes left in ``parent`` over a day ago are removed too.

    Raises:
        OSError: the cache is not writable.

    Example:
        >>> with staging_folder(cache_folder() / "notes") as making:
        ...     (making / "a.txt").write_text("whole")
        ...     (making / "a.txt").replace(making.parent / "a.txt")
    """
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another process has removed it
            if time.time() - left.stat().st_mtime > _LEFT_BEHIND:
                shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=parent, prefix=_PREFIX) as making:
        yield Path(making)


def write_cached(file: Path, write: Callable[[BinaryIO], Any], most: int) -> None:
    """Write a cache file, completely or not at all; its folder keeps only the ``most`` files used last.

    If a file cannot be written, on a full disk for example, the next run computes its content again.

    Args:
        file: in a cache folder that contains only files of this kind.
        write: receives the open file.
        most: the number of files to keep, at least 1.

    Example:
        >>> write_cached(cache_folder() / "notes" / "a.txt", lambda out: out.write(b"whole"), most=8)
    """
    with suppress(OSError), staging_folder(file.parent) as making:
        made = making / file.name
        with made.open("wb") as out:
            write(out)
            out.flush()
            os.fsync(out.fileno())
        made.replace(file)
    keep_most_recent(file.parent, most)


def keep_most_recent(folder: Path, most: int) -> None:
    """Remove all but the ``most`` files and folders of a cache folder that were created or used last."""
    with suppress(OSError):  # another process has removed it
        whole = (one for one in folder.iterdir() if not one.name.startswith(_PREFIX))
        for old in sorted(whole, key=lambda one: one.stat().st_mtime)[:-most]:
            if old.is_dir():  # if this is interrupted, what is left must not look like a whole folder
                shutil.rmtree(old.rename(old.with_name(f"{_PREFIX}{old.name}")))
            else:
                old.unlink()


def mark_used(path: Path) -> None:
    """Mark a file or folder of the cache as just used, so that it is not removed next."""
    with suppress(OSError):  # a shared cache that this user may only read
        os.utime(path)
