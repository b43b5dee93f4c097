"""Find checkpoints: by a folder, a pointer or a run, or the newest that verifies."""

from __future__ import annotations

import os
from pathlib import Path

from kgenre.checkpoints.checkpoint import FILES, Checkpoint, CheckpointError
from kgenre.checkpoints.files import UnsafeFileError, read_file, sync_folder, whole_file, write_synced
from kgenre.checkpoints.read import read_checkpoint, read_manifest


def write_pointer(folder: Path, name: str, target: Path) -> None:
    """Point ``folder/name`` ("last", "best") to a checkpoint in the same folder, atomically."""
    with whole_file(folder / name) as partial:
        write_synced(partial, f"{target.name}\n".encode())
    sync_folder(folder)


def find_checkpoint(path: str | os.PathLike[str]) -> Path:
    """Return the checkpoint at a path: a checkpoint's folder, a pointer file, or a run's folder (its best, then last).

    Raises:
        CheckpointError: there is none.

    Example:
        >>> find_checkpoint("runs/quickstart/version_0")
        PosixPath('runs/quickstart/version_0/checkpoints/step=000126')
    """
    if not isinstance(path, str | os.PathLike):
        hint = "" if path is not None else ". A ModelCheckpoint without a best_model_path still has a last_model_path."
        raise CheckpointError(f"A checkpoint must be the path of a folder. Received: {path!r}{hint}")
    path = Path(os.path.expanduser(path))  # pathlib's own raises an error for an unknown user
    if (path / "manifest.json").exists():
        return path
    if path.is_file() and path.name in ("best", "last"):
        return _follow(path)
    for folder in (path, path / "checkpoints"):
        for pointer in ("best", "last"):
            if (folder / pointer).is_file():
                return _follow(folder / pointer)
    steps = checkpoints_by_age(path / "checkpoints")
    if steps:
        raise CheckpointError(
            f"Run {path} has no file best or last that names a checkpoint. Choose one, such as {steps[0]}."
        )
    what = "is neither a checkpoint nor a run with checkpoints" if path.exists() else "does not exist"
    runs = run_folders(path)
    newest = f" The newest run there is {runs[-1]}." if runs else ""
    of_run = f", or RUN/checkpoints/{path}" if str(path) in ("best", "last") else ""
    raise CheckpointError(
        f"Checkpoint {path} {what}.{newest} Give a run's folder or one of its checkpoints/step=... folders{of_run}."
    )


def newest_checkpoint(experiment: Path) -> tuple[Checkpoint | None, list[CheckpointError]]:
    """Read the newest checkpoint of an experiment's runs that verifies; also return the errors of newer ones.

    The runs are those of `run_folders`, without a sweep's trials, which are experiments below it; or ``experiment`` is
    a single run's folder. The checkpoint is None if none verifies. Checkpoints of weights only are skipped, as no run
    can be resumed from them, and so are folders without any file of a checkpoint.
    """
    refused: list[CheckpointError] = []
    runs = [experiment] if (experiment / "checkpoints").is_dir() else run_folders(experiment)
    for folder in checkpoints_by_age(*(run / "checkpoints" for run in runs)):
        if not any(os.path.lexists(folder / name) for name in FILES):
            continue
        try:
            found = read_checkpoint(folder)
        except CheckpointError as error:
            refused.append(error)
        else:
            if found.optimizer:
                return found, refused
    return None, refused


def run_folders(experiment: Path) -> list[Path]:
    """The ``version_<n>`` folders of an experiment, oldest first; renamed runs are not among them."""
    found = {int(path.name[8:]): path for path in experiment.glob("version_*") if path.name[8:].isdecimal()}
    return [found[version] for version in sorted(found)]


def checkpoints_by_age(*folders: Path) -> list[Path]:
    """Return all checkpoints in these folders, newest first, whole or damaged."""
    found = [path for folder in folders for path in folder.glob("*/") if not path.name.startswith(".")]
    return sorted(found, key=_time_of, reverse=True)


def _time_of(folder: Path) -> float:
    """When it was written: the manifest's time, which survives copying, or else the folder's modification time."""
    try:
        return float(read_manifest(folder)["time"])
    except (CheckpointError, KeyError, TypeError, ValueError):
        return folder.stat().st_mtime if folder.exists() else 0.0  # its run has just removed it


def _follow(pointer: Path) -> Path:
    try:
        name = read_file(pointer, limit=1024).decode().strip()
    except UnsafeFileError as error:
        raise CheckpointError(f"{pointer} {error}.") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{pointer} cannot be read: {error}.") from None
    target = pointer.parent / name
    if Path(name).name != name or not (target / "manifest.json").exists():
        raise CheckpointError(f"{pointer} points to {name!r}, which is not a checkpoint in the same folder.")
    return target
