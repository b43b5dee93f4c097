"""The lock that lets only one run at a time write into a folder."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from kgenre.training.errors import TrainerError

_BYTE = 1 << 30  # the byte to lock, far behind the process id in the file: Windows lets nobody read a locked byte


class RunLock:
    """Holds ``<run>/.lock``, with this process's id in it, until `release`.

    The operating system releases the lock when the process ends, however that happens: the file of a dead process is
    taken over. Reading or copying the folder, as a backup does, leaves the lock alone.

    Args:
        folder: the run's folder.

    Raises:
        TrainerError: another run writes into the folder; the message names its process.
    """

    _held: dict[Path, IO[bytes]] = {}  # noqa: RUF012  of this process, for the message that names it

    def __init__(self, folder: Path) -> None:
        self.path = folder.resolve() / ".lock"
        if self.path in self._held:
            raise TrainerError(_message(folder, os.getpid()))
        while True:
            file = self.path.open("a+b", buffering=0)
            if not _lock(file):
                file.seek(0)
                owner = file.read(32).decode().strip()
                file.close()
                raise TrainerError(_message(folder, owner))
            if self.path.exists() and os.path.samestat(os.fstat(file.fileno()), self.path.stat()):
                break
            file.close()  # the run that held the lock has just removed the file
        self._file = file
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n".encode())
        self._held[self.path] = self._file

    def release(self) -> None:
        """Release the lock and remove its file."""
        self._held.pop(self.path, None)
        try:
            self.path.unlink(missing_ok=True)
        except PermissionError:  # Windows cannot remove an open file
            self._file.close()
            with suppress(PermissionError):  # another run has opened it by now
                self.path.unlink(missing_ok=True)
        self._file.close()


def _lock(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            # Not `lockf`: that lock ends as soon as this process closes any descriptor of the file, as a copy of the
            # folder does. On NFS, Linux locks the file on the server either way.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks: better no lock than no run
        return True
    return True


def _close_in_child() -> None:
    """Leave the locks to this process alone: a forked worker that outlives it would hold them too."""
    for file in RunLock._held.values():
        file.close()
    RunLock._held.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_close_in_child)


def _message(folder: Path, owner: object) -> str:
    return (
        f"{folder} is being written by process {owner}. Two runs cannot share a folder: wait until it ends, or start a "
        "new run without ckpt_path."
    )
