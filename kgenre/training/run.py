"""The state of a run, and the properties that users read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kgenre.callbacks import Callback, EarlyStopping, ModelCheckpoint, ProgressBar
from kgenre.checkpoints import Checkpoint
from kgenre.engines import Engine
from kgenre.loggers import Logger
from kgenre.profilers import Profiler
from kgenre.training.data_module import DataModule
from kgenre.training.errors import NothingHasRunError, TrainerError
from kgenre.training.evaluation_sources import EvaluationSource
from kgenre.training.fit_schedule import FitSchedule
from kgenre.training.flags import read_loggers, read_profiler
from kgenre.training.given_callbacks import as_list, check_callbacks
from kgenre.training.hooks import Hooks
from kgenre.training.module import Module
from kgenre.training.new_run_folder import NewRunFolder
from kgenre.training.results import Results
from kgenre.training.run_lock import RunLock
from kgenre.training.stop_signal import StopSignal

if TYPE_CHECKING:
    from kgenre.training.trainer import Trainer

Stage = Literal["fit", "validate", "test", "predict"]


@dataclass
class RunState:
    """Lightning's ``trainer.state``: which method was called, what it is doing now, and how it went."""

    fn: Stage | None = None
    stage: Literal["train", "sanity_check", "validate", "test", "predict"] | None = None
    status: Literal["initializing", "running", "finished", "interrupted"] = "initializing"


class Run:
    """The part of the `Trainer` that changes while it runs: counters, state, metrics and the parts in use.

    Counters count what is done: ``current_epoch`` epochs, ``global_step`` optimizer updates, ``batch_idx`` batches of
    the current epoch.
    """

    used_callbacks: list[Callback]
    loggers: list[Logger]
    default_root_dir: Path
    name: str | None
    # As in Lightning; there is one process, whose devices share each batch.
    is_global_zero = True
    global_rank = local_rank = 0
    world_size = 1
    print = staticmethod(print)
    train_dataloader = property(attrgetter("train_source"), doc="The source of the fit's training batches.")
    val_dataloaders = property(attrgetter("val_source"), doc="The source of its validation batches, or several.")

    def __init__(self) -> None:
        self._begin_fit()
        self.stop_signal = StopSignal()
        self.state = RunState()
        self.fit_dir: Path | None = None  # of the last fit, whose checkpoints "best" and "last" are
        self.has_fitted = False
        self.results_dir: Path | None = None  # of the stage: the run's folder, or one in it (`DataModule.results_name`)
        self.new_folder: NewRunFolder | None = None  # this fit's, removed if it fails; None: after a step it is kept
        self.lock: RunLock | None = None
        self.ckpt_path: Path | None = None  # the checkpoint that was loaded
        self.found_by_name = False  # "best" or "last" was given, and another trainer's run was found
        self.data: Any = None  # the datamodule or module that provides the batches; None: they were given directly
        self.val_data: Any = None  # the same for the validation batches of a fit
        self.keeps_predictions = True
        self.is_trial = False  # a search for a learning rate or a batch size: only its own callbacks take part
        self._module: Module | None = None
        self.configured_callbacks: tuple[Module | None, list[Callback]] = None, []  # a module, and its own callbacks
        self._engine: Engine | None = None  # with the module built in it
        self.datamodule: DataModule | None = None
        # The datamodule that the module was trained on, or its `data_module_record`, in memory or in a checkpoint.
        self.trained_on: DataModule | Mapping[str, Any] | None = None
        self.data_are_new = False  # the datamodule is not the previous stage's
        self.results = Results()
        self.fit_results: Results | None = None  # those of the fit that trained the module
        self.opened_loggers: Sequence[Logger] = ()  # some may still be in the folder of an earlier stage
        self.hooks: Hooks  # of the current stage: see `running`
        self.set_up: set[int] = set()  # ids of the objects whose `setup` has run in it
        self.run_opened: list[Callable[[Trainer], None]] = []
        self.chosen_steps_per_execution = 1
        self.chosen_jit_compile: bool | None = None  # None: not chosen yet
        self.num_evaluation_batches: int | float = 0  # of the current validation, test or prediction
        self.train_source: Any = None
        self.val_source: Any = None  # as given; `val_sources` has its parts
        self.val_sources: list[EvaluationSource] = []
        self.loaded_in_epoch = 0  # when the sources were loaded, see `load_epoch`

    def _begin_fit(self) -> None:
        """Set what each fit begins with."""
        self.run_dir: Path | None = None  # see `log_dir`
        self.current_epoch = 0
        self.batch_idx = 0
        self.schedule = FitSchedule(0)
        self.global_step = 0
        self.epoch_is_done = False
        self.is_last_batch = False
        self.logs_are_due = False  # what this batch's hooks log must be written too
        self.should_stop = False
        self.stop_is_put_off = False  # should_stop is set, but min_epochs or min_steps are not reached
        self.has_diverged = False  # from here on no checkpoint is written
        self.pending_rollback: Checkpoint | None = None  # set by a callback: an older one to continue from
        self.interrupted = False
        self.resumed = False
        self.has_loaded_weights = False  # an evaluation has: the optimizer's state is that of other weights
        self.validated_at: tuple[int, int] | None = None
        self.saved_epoch: Mapping[str, Any] | None = None  # the sums of an epoch that is resumed
        self.input_seconds = 0.0  # the time that the fit has waited for batches
        self.batch_seconds: float | None = None  # the wait for one batch, in the previous epoch
        self.configured_rates: list[float | None] = []  # of the fit's optimizers, see `configured_rates`
        self.trainable_at_start: dict[str, bool] = {}  # after ``on_fit_start``, see `trainable_flags`

    # --- the parts in use ----------------------------------------------------------------------------------------

    @property
    def module(self) -> Module:
        """The module that is running, or ran last.

        Raises:
            NothingHasRunError: none has run.
        """
        if self._module is None:
            raise NothingHasRunError("trainer.module needs a run: call trainer.fit(module, ...) first.")
        return self._module

    @property
    def engine(self) -> Engine:
        """The engine that the module is built in, from ``on_fit_start`` or the start of an evaluation on.

        Raises:
            NothingHasRunError: nothing is built yet.
        """
        if self._engine is None:
            raise NothingHasRunError(
                "trainer.engine needs a run whose module is built: call trainer.fit(module, ...) first."
            )
        return self._engine

    # --- the current stage ---------------------------------------------------------------------------------------

    def _refuse_if_running(self, method: str) -> None:
        """Refuse to start a stage inside another one, whose counters, metrics and lock it would replace.

        Raises:
            TrainerError: a stage is running.
        """
        if self.state.status == "running":
            raise TrainerError(
                f"trainer.{method}() was called in a hook of trainer.{self.state.fn}(), which is still running. Use "
                f"another Trainer there: Trainer(...).{method}(module, ...)."
            )

    @property
    def stage(self) -> Stage | None:
        """The method that is running, as `Callback.setup` receives it: "fit", "validate", "test" or "predict"."""
        return self.state.fn

    @property
    def training(self) -> bool:
        """Whether training batches are running (not the validations between them)."""
        return self.state.stage == "train"

    @property
    def sanity_checking(self) -> bool:
        """Whether the few validation batches before training are running."""
        return self.state.stage == "sanity_check"

    @property
    def validating(self) -> bool:
        """Whether validation batches are running, inside a fit or outside."""
        return self.state.stage == "validate"

    @property
    def testing(self) -> bool:
        """Whether test batches are running."""
        return self.state.stage == "test"

    @property
    def predicting(self) -> bool:
        """Whether batches are being predicted."""
        return self.state.stage == "predict"

    # --- metrics -------------------------------------------------------------------------------------------------

    @property
    def callback_metrics(self) -> dict[str, float]:
        """Every value logged so far, newest by name. Reading it fetches the newest step's values: do it rarely.

        A value logged both ``on_step`` and ``on_epoch`` has an entry under its own name too, next to ``name_step`` and
        ``name_epoch``.
        """
        return self.results.current()

    @property
    def logged_metrics(self) -> dict[str, float]:
        """The values that were written to the loggers, newest by name."""
        return self.results.logged

    @property
    def progress_bar_metrics(self) -> dict[str, float]:
        """The values that the progress bar shows."""
        return self.results.progress_bar

    # --- counts --------------------------------------------------------------------------------------------------

    @property
    def num_training_batches(self) -> int | float:
        """Training batches in an epoch; infinite if the data are of unknown length."""
        return self.schedule.training_batches

    @property
    def num_val_batches(self) -> int | float:
        """Validation batches in a validation."""
        return self.schedule.validation_batches

    # --- callbacks and loggers -------------------------------------------------------------------------------------

    @property
    def callbacks(self) -> list[Callback]:
        """All callbacks, the module's and the default ones too; they may be set, added or removed between runs.

        Raises:
            TrainerError: (when set) one is not a `Callback`.
        """
        return self._callbacks

    @callbacks.setter
    def callbacks(self, callbacks: Callback | list[Callback]) -> None:
        callbacks = callbacks if isinstance(callbacks, list) else as_list(callbacks)
        check_callbacks("trainer.callbacks", callbacks)
        self._callbacks = callbacks

    @property
    def checkpoint_callback(self) -> ModelCheckpoint | None:
        """The first `ModelCheckpoint`."""
        return next(iter(self.checkpoint_callbacks), None)

    @property
    def checkpoint_callbacks(self) -> list[ModelCheckpoint]:
        """All `ModelCheckpoint` callbacks."""
        return [callback for callback in self.callbacks if isinstance(callback, ModelCheckpoint)]

    @property
    def early_stopping_callback(self) -> EarlyStopping | None:
        """The first `EarlyStopping`."""
        return next(iter(self.early_stopping_callbacks), None)

    @property
    def early_stopping_callbacks(self) -> list[EarlyStopping]:
        """All `EarlyStopping` callbacks."""
        return [callback for callback in self.callbacks if isinstance(callback, EarlyStopping)]

    @property
    def progress_bar_callback(self) -> ProgressBar | None:
        """The `ProgressBar`, if there is one."""
        return next((callback for callback in self.callbacks if isinstance(callback, ProgressBar)), None)

    @property
    def logger(self) -> Logger | None:
        """The first logger. It may be set between runs, to what the flag takes: one or several, True or False."""
        return self.loggers[0] if self.loggers else None

    @logger.setter
    def logger(self, logger: Logger | list[Logger] | bool | None) -> None:
        self.loggers = read_loggers(logger)

    @property
    def profiler(self) -> Profiler | None:
        """The profiler. It may be set between runs, to what the flag takes."""
        return self._profiler

    @profiler.setter
    def profiler(self, profiler: Profiler | str | None) -> None:
        self._profiler = read_profiler(profiler)

    # --- optimizers ----------------------------------------------------------------------------------------------

    @property
    def optimizers(self) -> list[Any]:
        """The Keras optimizers of the running fit."""
        return list(self._engine.built.optimizers) if self._engine is not None else []

    def learning_rates(self, of_newest_update: bool = False) -> list[float]:
        """The current learning rate of each optimizer; with a Keras schedule, the next update's.

        Args:
            of_newest_update: return the newest update's instead.
        """

        def current(optimizer: Any) -> float:
            rate = optimizer._learning_rate
            if not callable(rate):
                return float(self.engine.get_variable(rate))
            updates = int(self.engine.get_variable(optimizer.iterations))  # skipped updates do not count
            return float(rate(max(updates - of_newest_update, 0)))

        return list(map(current, self.optimizers))

    def set_learning_rate(self, value: float, optimizer: int = 0) -> None:
        """Set the learning rate of an optimizer, from the next step on.

        Raises:
            TrainerError: the optimizer has a Keras schedule, which sets the rate by itself.
        """
        engine, rate = self.engine, self.optimizers[optimizer]._learning_rate
        if callable(rate):
            raise TrainerError(
                f"trainer.set_learning_rate(): the schedule {type(rate).__name__} sets the rate of this optimizer. "
                "Create the optimizer with a number instead."
            )
        engine.set_variable(rate, value)

    # --- the run's folder ----------------------------------------------------------------------------------------

    @property
    def log_dir(self) -> Path | None:
        """``trainer.run_dir``, the folder of the run that the module's weights come from, to which results are written.

        That is the run of the fit, or after an evaluation with ``ckpt_path`` that of the checkpoint. None before a run,
        where nothing is written, and after an evaluation of another module without ``ckpt_path``.
        """
        return self.run_dir

    @property
    def experiment_dir(self) -> Path:
        """``<root>/<name>``, the folder of this experiment's runs."""
        root = next((logger.save_dir for logger in self.loggers if logger.save_dir), self.default_root_dir)
        name = next((logger.name for logger in self.loggers if logger.name), self.name)
        return Path(os.path.expanduser(root)) / (
            snake_case(type(self.module).__name__) if name in (None, "") else str(name)
        )

    def on_run_opened(self, action: Callable[[Trainer], None]) -> None:
        """Call ``action(trainer)`` when a fit has opened its folder ``trainer.run_dir``, before training starts.

        What it writes there belongs to the run: it is removed with the folder if the run fails before its first step.
        """
        self.run_opened.append(action)


def snake_case(name: str) -> str:
    """The default name of an experiment, from its module's class: "DigitNet" becomes ``digit_net``."""
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
