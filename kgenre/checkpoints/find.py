"""Which checkpoint a path or a word means: pointers, runs, the newest that verifies."""

from __future__ import annotations

import os
from pathlib import Path

from kgenre.checkpoints.checkpoint import CheckpointError, read_checkpoint, sync_folder, write_synced


def write_pointer(folder: Path, name: str, target: Path) -> None:
    """Let ``folder/name`` ("last", "best") name a checkpoint beside it; replaced in one step."""
    partial = folder / f".{name}.{os.getpid()}.partial"
    write_synced(partial, f"{target.name}\n".encode())
    partial.replace(folder / name)
    sync_folder(folder)


def find_checkpoint(path: str | os.PathLike[str]) -> Path:
    """The checkpoint that a path means: a checkpoint's folder, a pointer file, or a run's folder (its best, then last).

    Raises:
        CheckpointError: there is none.
    """
    path = Path(path)
    if (path / "manifest.json").exists():
        return path
    if path.is_file() and path.name in ("best", "last"):
        return _follow(path)
    for folder in (path, path / "checkpoints"):
        for pointer in ("best", "last"):
            if (folder / pointer).is_file():
                return _follow(folder / pointer)
    what = "is not a checkpoint, nor a run with checkpoints" if path.exists() else "does not exist"
    raise CheckpointError(f"Checkpoint {path} {what}. Give a run's folder or one of its checkpoints/step=... folders.")


def newest_checkpoint(root: Path) -> tuple[Path, list[CheckpointError]] | None:
    """The newest checkpoint below ``root`` that verifies, with the errors of newer ones that do not."""
    # Hidden folders too: a kill between two renames may leave a whole checkpoint under no other name.
    manifests = sorted(root.glob("**/checkpoints/*/manifest.json"), key=lambda p: p.stat().st_mtime_ns, reverse=True)
    refused: list[CheckpointError] = []
    for manifest in manifests:
        try:
            read_checkpoint(manifest.parent)
        except CheckpointError as error:
            refused.append(error)
        else:
            return manifest.parent, refused
    return None


def _follow(pointer: Path) -> Path:
    name = pointer.read_text().strip()
    target = pointer.parent / name
    if not name or Path(name).name != name or not (target / "manifest.json").exists():
        raise CheckpointError(f"{pointer} points to {name!r}, which is not a checkpoint beside it.")
    return target
