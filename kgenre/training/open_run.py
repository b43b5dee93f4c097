"""Open, join and leave the folder that a run writes to, with its lock and loggers."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kgenre.callbacks import ModelCheckpoint
from kgenre.checkpoints import Checkpoint, remove_leftovers
from kgenre.training.errors import TrainerError
from kgenre.training.hyperparameters import logged_hyperparameters
from kgenre.training.new_run_folder import NewRunFolder
from kgenre.training.run_folder import read_metrics, write_environment
from kgenre.training.run_lock import RunLock

if TYPE_CHECKING:
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


def open_run(trainer: Trainer, resume_step: int | None) -> None:
    """Create the run's folder, or reopen the folder of the checkpoint it resumes from, and open the loggers in it."""
    t = trainer
    writes = any(logger.writes_files for logger in t.loggers)
    writes = writes or any(isinstance(callback, ModelCheckpoint) for callback in t.callbacks)
    if not t.resumed or t.run_dir is None:
        own = [name for logger in t.loggers for name in logger.files]
        own += () if t.profiler is None else t.profiler.files
        t.new_folder = NewRunFolder(t.experiment_dir, own) if writes else None
        t.run_dir = t.new_folder.path if t.new_folder is not None else None
    t.results_dir = t.fit_dir = t.run_dir
    try:
        _begin_writing(t, resume_step)
    finally:
        if t.new_folder is not None:
            t.new_folder.note_own()


def _begin_writing(trainer: Trainer, resume_step: int | None) -> None:
    """Lock the run's folder, and write what describes the run into it and to the loggers."""
    t = trainer
    parameters = {"model": logged_hyperparameters(t.module)}
    if t.datamodule is not None:
        parameters["data"] = logged_hyperparameters(t.datamodule)
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
    """Open the folder for an evaluation's results and return it; None without a run, or if it cannot be written.

    It is the run's folder; or one inside it for a validation, whose values must not mix with those of the fit, and for
    results on other data.
    """
    t = trainer
    try:
        t.results_dir = None if t.run_dir is None else _join_folder(t, t.run_dir)
    except TrainerError as error:
        _log.warning("%s The results are not written there.", str(error).partition(" Two runs")[0])
        t.results_dir = None
    if t.results_dir is None:
        leave_loggers(t)
    open_loggers(t)
    return t.results_dir


def _join_folder(trainer: Trainer, run: Path) -> Path:
    """Choose the folder for an evaluation's results, and lock it.

    Raises:
        TrainerError: another run writes there, or this process may not.
    """
    t, folder = trainer, run / "validate" if trainer.stage == "validate" else run
    if not os.access(run, os.W_OK):
        raise TrainerError(f"{run} cannot be written.")  # it is read-only, or was removed
    if t.stage == "predict":  # which writes no results
        return run
    if t.datamodule is not None and (name := t.datamodule.results_name):
        folder = _results_folder(run / f"{t.stage}_{name}", t.datamodule.results_source)
    folder.mkdir(exist_ok=True)
    t.lock = RunLock(folder)
    return folder


def _results_folder(folder: Path, source: str) -> Path:
    """Return the folder for results on other data; its name gets a number if data from elsewhere already use it.

    ``data/source`` in a folder's ``metrics.json`` tells where its data come from.
    """
    place, n = folder, 1
    while read_metrics(place).get("data/source", source) != source:
        n += 1
        place = folder.with_name(f"{folder.name}_{n}")
    return place


def open_loggers(trainer: Trainer, resume_step: int | None = None) -> None:
    """Open the loggers in the results folder; without one, leave out those that write files."""
    t = trainer
    if t.profiler is not None:
        t.profiler.log_dir = t.results_dir
    t.results.loggers = [logger for logger in t.loggers if t.results_dir is not None or not logger.writes_files]
    t.opened_loggers = t.results.loggers
    for logger in t.results.loggers:
        logger.open(t.results_dir, resume_step)


def leave_loggers(trainer: Trainer) -> None:
    """Let the loggers leave the run of an earlier stage: what hooks log to them does not belong to it."""
    for logger in trainer.opened_loggers:
        logger.leave_run()
    trainer.opened_loggers = []


def run_of(checkpoint: Checkpoint) -> Path | None:
    """Return the folder of the run that a checkpoint was read from; None if it was saved elsewhere."""
    assert checkpoint.path is not None
    folder = checkpoint.path.parent
    if folder == Path():  # a relative path from inside that folder, "step=000120"
        folder = folder.resolve()
    return folder.parent if folder.name == "checkpoints" else None


@contextmanager
def leaving_run(trainer: Trainer) -> Iterator[None]:
    """The context of a stage: at its end, release the folder; remove a new one if the fit failed without a step."""
    t = trainer
    try:
        yield
    finally:
        if t.lock is not None:
            t.lock.release()
            t.lock = None
        if t.new_folder is not None and t.new_folder.remove_if_unused():
            t.run_dir = t.fit_dir = t.results_dir = None
