"""A run's folder while the run writes there: opened or joined, the loggers in it, and left again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from kgenre.callbacks import ModelCheckpoint
from kgenre.checkpoints import Checkpoint, remove_leftovers
from kgenre.training.errors import TrainerError
from kgenre.training.new_run_folder import NewRunFolder
from kgenre.training.run_folder import read_metrics, write_environment
from kgenre.training.run_lock import RunLock

if TYPE_CHECKING:
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


def open_run(trainer: Trainer, resume_step: int | None) -> None:
    """A new folder for the run, or that of the checkpoint from which it goes on, and the loggers in it."""
    t = trainer
    writes = any(logger.writes_files for logger in t.loggers)
    writes = writes or any(isinstance(callback, ModelCheckpoint) for callback in t.callbacks)
    if not t.resumed or t.run_dir is None:
        own = [name for logger in t.loggers for name in logger.files]
        t.new_folder = NewRunFolder(t.experiment_dir, own) if writes else None
        t.run_dir = t.new_folder.path if t.new_folder is not None else None
    t.results_dir = t.run_dir
    t.opened_at = _counts(t)
    with own_writing(t):
        _begin_writing(t, resume_step)


def _begin_writing(trainer: Trainer, resume_step: int | None) -> None:
    """What the run is, into its folder and to the loggers."""
    t = trainer
    parameters = {"model": vars(t.module.hparams)}
    if t.datamodule is not None:
        parameters["data"] = vars(t.datamodule.hparams)
    if t.run_dir is not None:
        t.lock = RunLock(t.run_dir)
        remove_leftovers(t.run_dir / "checkpoints")
        chosen = {"steps_per_execution": t.chosen_steps_per_execution, "jit_compile": t.chosen_jit_compile}
        write_environment(t.run_dir, t.step_options.devices, **chosen)
        if t.datamodule is not None:
            t.datamodule.save_artifacts(t.run_dir)
    open_loggers(t, resume_step)
    for logger in t.results.loggers:
        logger.log_hyperparams(parameters)
    for action in t.run_opened if t.run_dir is not None else ():
        action(t)


def join_run(trainer: Trainer) -> Path | None:
    """Open a folder for an evaluation's results, if there is a run and nobody is writing to it; the folder, or None.

    It is the run's, or one in it where the results are of other data.
    """
    t = trainer
    t.results_dir = folder = t.run_dir
    if folder is not None and t.stage != "predict":  # which writes no results
        if t.datamodule is not None and (name := t.datamodule.results_name):
            t.results_dir = folder = _place_of(folder / f"{t.stage}_{name}", t.datamodule.results_source)
            folder.mkdir(exist_ok=True)
        try:
            t.lock = RunLock(folder)
        except TrainerError as error:
            _log.warning("%s The results are not written there.", str(error).partition(" Two runs")[0])
            t.results.loggers, t.results_dir = [], None
            return None
    open_loggers(t)
    return t.results_dir


def _place_of(folder: Path, source: str) -> Path:
    """A folder for results of other data; a number is put behind its name while others of that name have theirs there.

    ``data/source`` in their ``metrics.json`` says whose they are.
    """
    place, n = folder, 1
    while read_metrics(place).get("data/source", source) != source:
        n += 1
        place = folder.with_name(f"{folder.name}_{n}")
    return place


def open_loggers(trainer: Trainer, resume_step: int | None = None) -> None:
    """Let the loggers write into the folder of the results; without one, those that write files stay silent."""
    t = trainer
    if t.profiler is not None:
        t.profiler.log_dir = t.results_dir
    t.results.loggers = [logger for logger in t.loggers if t.results_dir is not None or not logger.writes_files]
    for logger in t.results.loggers:
        logger.open(t.results_dir, resume_step)


def run_of(checkpoint: Checkpoint) -> Path | None:
    """The run's folder that a checkpoint lies in; None for one that was saved elsewhere, or never."""
    if checkpoint.path is None:
        return None
    folder = checkpoint.path.parent
    if folder == Path():  # given from inside the folder, as "step=000120"
        folder = folder.resolve()
    return folder.parent if folder.name == "checkpoints" else None


def own_writing(trainer: Trainer) -> AbstractContextManager[None]:
    """Around what the run itself writes: see `NewRunFolder`."""
    return nullcontext() if trainer.new_folder is None else trainer.new_folder.own_writing()


def has_begun(trainer: Trainer) -> bool:
    """Whether a step was made since the run's folder was opened."""
    return trainer.opened_at != _counts(trainer)


@contextmanager
def leaving_run(trainer: Trainer) -> Iterator[None]:
    """Around a stage: in the end others may write into the folder, and one that is still new is removed."""
    t = trainer
    try:
        yield
    finally:
        if t.lock is not None:
            t.lock.release()
            t.lock = None
        if t.new_folder is not None and t.new_folder.remove_if_unused():
            t.run_dir = t.results_dir = None


def _counts(trainer: Trainer) -> tuple[int, int, int]:
    return trainer.current_epoch, trainer.batch_idx, trainer.global_step
