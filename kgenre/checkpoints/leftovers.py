"""Hidden files and folders that a killed run left next to its checkpoints: the next run removes them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from kgenre.checkpoints.checkpoint import CheckpointError
from kgenre.checkpoints.files import move
from kgenre.checkpoints.read import read_checkpoint
from kgenre.checkpoints.removal import wait_for_removals

_HIDDEN = re.compile(r"\..+\.\d+\.(partial|replaced|removed)")


def leftovers(folder: Path) -> list[Path]:
    """Hidden files and folders of interrupted writers; of two versions of a checkpoint the new one comes first."""
    found = (path for path in folder.glob(".*") if _HIDDEN.fullmatch(path.name))
    return sorted(found, key=lambda path: (path.suffix, path))


def remove_leftovers(folder: Path) -> None:
    """Clean a checkpoints folder that no other run is writing to.

    If a run was killed between two renames, a whole checkpoint may exist under a hidden name only: it is renamed back.
    """
    wait_for_removals()
    for path in leftovers(folder):
        name, _, kind = path.name[1:].rsplit(".", 2)
        if path.is_dir() and not (folder / name).exists() and kind != "removed" and _is_whole(path):
            move(path, folder / name)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _is_whole(path: Path) -> bool:
    try:
        read_checkpoint(path)
    except CheckpointError:
        return False
    return True
