"""``ckpt_path``: find and read the checkpoint that a path, "last" or "best" refers to."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from kgenre import checkpoints
from kgenre.checkpoints import Checkpoint, CheckpointError, run_folders

if TYPE_CHECKING:
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


def read_ckpt_path(trainer: Trainer, ckpt_path: str | os.PathLike[str] | None, stage: str) -> Checkpoint | None:
    """Read the checkpoint that ``ckpt_path`` refers to; return None if there is nothing to load.

    In a fit, "last" is the experiment's newest checkpoint that verifies, and a run's folder stands for the newest one
    of that run. Otherwise "best" and "last" are those of this trainer's last fit, whatever was evaluated since; of a
    trainer that has not fitted, those of the experiment's newest run that has one.

    Raises:
        CheckpointError: there is no such checkpoint, or none that verifies.
    """
    trainer.found_by_name = ckpt_path in ("best", "last") and (stage == "fit" or not trainer.has_fitted)
    if ckpt_path is None:
        return None
    path = Path(os.path.expanduser(ckpt_path)) if isinstance(ckpt_path, str | os.PathLike) else ckpt_path
    is_run = isinstance(path, Path) and (path / "checkpoints").is_dir()
    if stage == "fit" and (ckpt_path == "last" or is_run):
        experiment = path if is_run else trainer.experiment_dir
        checkpoint, refused = checkpoints.newest_checkpoint(experiment)
        if checkpoint is None and refused:
            others = "and no older one verifies" if refused[1:] else "and there is no other"
            raise CheckpointError(
                f"ckpt_path={str(ckpt_path)!r}: {str(refused[0]).rstrip('.')}, {others} under {experiment}. To start "
                "from scratch, leave ckpt_path out."
            )
        if checkpoint is None and not is_run:
            _log.warning(
                "ckpt_path='last': there is no checkpoint under %s that a run can be resumed from, so training starts "
                "from the beginning.%s",
                experiment,
                _renamed(experiment),
            )
            return None
        if checkpoint is not None:
            for error in refused:
                _log.warning("%s Falling back to %s.", error, checkpoint.path)
            return checkpoint
    if ckpt_path in ("best", "last"):
        path = _pointer(trainer, str(ckpt_path))
    path = checkpoints.find_checkpoint(path)
    if stage != "fit":
        # "best" or "last" of an untrained trainer is another run's checkpoint: log it where it is sure to be seen.
        _log.log(logging.WARNING if trainer.found_by_name else logging.INFO, "Checkpoint: %s", path)
    return checkpoints.read_checkpoint(path, weights_only=stage != "fit")


def newest_pointer(experiment: Path, which: str) -> Path | None:
    """Return the file "best" or "last" of the newest run of an experiment that has one; None if no run does."""
    pointers = [run / "checkpoints" / which for run in run_folders(experiment)[::-1]]
    return next((pointer for pointer in pointers if pointer.is_file()), None)


def _pointer(trainer: Trainer, which: str) -> Path:
    run, experiment = trainer.fit_dir, trainer.experiment_dir
    if run is None and not trainer.found_by_name:
        raise CheckpointError(
            f"ckpt_path={which!r}: no {which} checkpoint of this trainer's last fit, which failed before its first "
            "step or wrote no files. Give the path of a checkpoint."
        )

    def find(which: str) -> Path | None:
        if run is None:
            return newest_pointer(experiment, which)
        return pointer if (pointer := run / "checkpoints" / which).is_file() else None

    if (found := find(which)) is not None:
        return found
    if run is not None and not run.exists():
        raise CheckpointError(
            f"ckpt_path={which!r}: {run.absolute()}, the folder of this trainer's last fit, does not exist. Was it "
            "moved, or the working directory changed? Give the path of a checkpoint."
        )
    where = run or next(reversed(run_folders(experiment)), experiment)
    advice = "Train first, or give the path of a checkpoint."
    if (last := find("last")) is not None:
        advice = f"There is only {last}: no value that a ModelCheckpoint monitors was logged. Use ckpt_path='last'."
    raise CheckpointError(f"ckpt_path={which!r}: no {which} checkpoint under {where}. {advice}{_renamed(experiment)}")


def _renamed(experiment: Path) -> str:
    """Return a hint if the experiment has runs under names other than ``version_<n>`` (renamed or copied); else ""."""
    known = run_folders(experiment)
    runs = [run for run in sorted(experiment.glob("*/")) if run not in known and (run / "checkpoints").is_dir()]
    return f" To use a run with another name, pass its path: {runs[0]}." if runs else ""
