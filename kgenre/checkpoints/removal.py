"""Removing folders in the background: to give the disk its blocks back takes half as long as to write them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from threading import Lock, Thread

from kgenre.checkpoints.files import move

_running: list[Thread] = []
_waiting = Lock()  # whoever comes second waits too


def remove_in_background(folder: Path) -> None:
    """Start to remove a folder that is nobody's any more."""
    wait_for_removals()
    thread = Thread(target=shutil.rmtree, args=(folder,), kwargs={"ignore_errors": True}, name="removal")
    thread.start()
    _running.append(thread)


def wait_for_removals() -> None:
    """Return when nothing is being removed."""
    with _waiting:
        while _running:
            _running.pop().join()


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint folder, in the background: under its name it is there whole or not at all."""
    hidden = path.with_name(f".{path.name}.{os.getpid()}.removed")
    wait_for_removals()
    try:
        move(path, hidden)
    except FileNotFoundError:
        return
    remove_in_background(hidden)
