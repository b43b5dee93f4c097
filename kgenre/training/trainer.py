"""The Trainer: its flags, fit, validate, test and predict, and what users read of a run."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from kgenre.callbacks import Callback, ModelCheckpoint, ModelSummary, ProgressBar, ThroughputMonitor, Timer
from kgenre.callbacks.duration import read_duration
from kgenre.checkpoints import Checkpoint, write_checkpoint
from kgenre.engines import Engine
from kgenre.engines.step_options import StepOptions
from kgenre.loggers import CSVLogger, Logger, TensorBoardLogger
from kgenre.training.data_module import DataModule
from kgenre.training.errors import TrainerError
from kgenre.training.evaluation_loop import evaluate
from kgenre.training.fit_loop import fit_loop
from kgenre.training.fit_schedule import FitSchedule
from kgenre.training.limits import check_limit, number_of_batches
from kgenre.training.module import Module
from kgenre.training.precision import check_precision
from kgenre.training.results import Results
from kgenre.training.results_table import print_results
from kgenre.training.resume import find_checkpoint, restore, restore_weights, run_state
from kgenre.training.run_folder import update_metrics
from kgenre.training.stage import (
    build_for_evaluation,
    build_for_fit,
    first_batch,
    make_schedule,
    open_loggers,
    open_run,
    prepare,
    run_of,
    running,
)

Limit = int | float | None


class Trainer:
    """Runs a `Module` on the backend that ``KERAS_BACKEND`` names, with Lightning's flags and order of events.

    One ``global_step`` is one optimizer update, on every axis.

    Args:
        max_epochs: stop after so many epochs; None: 1000, or no limit where ``max_steps`` is given.
        min_epochs: ignore every wish to stop early (``should_stop``) before so many epochs; None: 0.
        max_steps: stop after so many optimizer updates; -1: no limit.
        min_steps: ignore every wish to stop early before so many optimizer updates; None: 0.
        max_time: stop after so much training: "DD:HH:MM:SS", a dict with the keywords of `datetime.timedelta`, or a
            timedelta; None: no limit. See `Timer`, which it adds.
        limit_train_batches: batches per epoch, a count or a fraction; None: all. The same for val, test, predict.
        fast_dev_run: run this many batches of everything once (True: 1), write no files: does it run at all?
        overfit_batches: train on the same batches each epoch, a count or a fraction; 0: off.
        log_every_n_steps: write the values of single steps so often.
        val_check_interval: validate after so many batches (int) or this fraction of an epoch (float).
        check_val_every_n_epoch: validate only every n-th epoch.
        num_sanity_val_steps: validation batches to try before training; 0: none.
        accumulate_grad_batches: batches whose mean gradient makes one update.
        gradient_clip_val: largest global norm, or absolute value, of the gradient; None: no clipping.
        gradient_clip_algorithm: "norm" or "value".
        precision: "32-true" or "bf16-mixed".
        callbacks: one or several.
        logger: True: TensorBoard and CSV; False: none; or one or several loggers.
        default_root_dir: where runs are written, as ``<root>/<name>/version_<n>``.
        name: the name of the experiment in that path; None: the module's class name.
        enable_checkpointing: add a `ModelCheckpoint` (the last and the best by ``val/loss``) where none is given.
        enable_progress_bar: show progress on a terminal, a line per epoch elsewhere.
        enable_model_summary: print layers and counts before training.
        jit_compile: compile TensorFlow's steps with XLA; None: no. JAX always does.

    Raises:
        TrainerError: an argument that cannot be.

    Example:
        >>> trainer = Trainer(max_epochs=3)
        >>> trainer.fit(module, train_batches, val_batches)
        >>> trainer.test(module, test_batches)[0]["test/loss"]
    """

    def __init__(
        self,
        max_epochs: int | None = None,
        min_epochs: int | None = None,
        max_steps: int = -1,
        min_steps: int | None = None,
        max_time: str | timedelta | dict[str, float] | None = None,
        limit_train_batches: Limit = None,
        limit_val_batches: Limit = None,
        limit_test_batches: Limit = None,
        limit_predict_batches: Limit = None,
        fast_dev_run: int | bool = False,
        overfit_batches: int | float = 0,
        log_every_n_steps: int = 50,
        val_check_interval: int | float = 1.0,
        check_val_every_n_epoch: int = 1,
        num_sanity_val_steps: int = 2,
        accumulate_grad_batches: int = 1,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: Literal["norm", "value"] = "norm",
        precision: str = "32-true",
        callbacks: Callback | list[Callback] | None = None,
        logger: Logger | list[Logger] | bool = True,
        default_root_dir: str = "runs",
        name: str | None = None,
        enable_checkpointing: bool = True,
        enable_progress_bar: bool = True,
        enable_model_summary: bool = True,
        jit_compile: bool | None = None,
    ) -> None:
        _at_least(log_every_n_steps=(log_every_n_steps, 1), check_val_every_n_epoch=(check_val_every_n_epoch, 1))
        _at_least(accumulate_grad_batches=(accumulate_grad_batches, 1), max_steps=(max_steps, -1))
        _at_least(num_sanity_val_steps=(num_sanity_val_steps, 0), max_epochs=(max_epochs, 0))
        _at_least(min_epochs=(min_epochs, 0), min_steps=(min_steps, 0))
        if isinstance(val_check_interval, float) and val_check_interval > 0:
            check_limit("val_check_interval", val_check_interval)
        else:
            _at_least(val_check_interval=(val_check_interval, 1))
        if gradient_clip_val is not None and gradient_clip_val <= 0:
            raise TrainerError(f"gradient_clip_val must be above 0, or None. Received: {gradient_clip_val}")
        if gradient_clip_algorithm not in ("norm", "value"):
            raise TrainerError(f"gradient_clip_algorithm is 'norm' or 'value'. Received: {gradient_clip_algorithm!r}")

        self.fast_dev_run = int(fast_dev_run)
        if self.fast_dev_run:
            limit_train_batches = limit_val_batches = limit_test_batches = limit_predict_batches = self.fast_dev_run
            max_epochs, max_steps, num_sanity_val_steps, logger, enable_checkpointing = 1, -1, 0, False, False
            min_epochs = min_steps = None
            val_check_interval, check_val_every_n_epoch = 1.0, 1
        self.overfit_batches = check_limit("overfit_batches", overfit_batches)
        if overfit_batches:
            limit_train_batches = limit_val_batches = overfit_batches
        self.limits = {
            "train": check_limit("limit_train_batches", limit_train_batches),
            "val": check_limit("limit_val_batches", limit_val_batches),
            "test": check_limit("limit_test_batches", limit_test_batches),
            "predict": check_limit("limit_predict_batches", limit_predict_batches),
        }
        self.max_steps = max_steps
        self.min_epochs, self.min_steps = min_epochs or 0, min_steps or 0
        self.max_epochs = max_epochs if max_epochs is not None else (1000 if max_steps == -1 else math.inf)
        if self.min_epochs > self.max_epochs or (max_steps != -1 and self.min_steps > max_steps):
            raise TrainerError(
                "min_epochs must not be above max_epochs, nor min_steps above max_steps. Received: "
                f"min_epochs={self.min_epochs}, max_epochs={self.max_epochs}, min_steps={self.min_steps}, "
                f"max_steps={max_steps}"
            )
        self.log_every_n_steps = log_every_n_steps
        self.val_check_interval = val_check_interval
        self.check_val_every_n_epoch = check_val_every_n_epoch
        self.num_sanity_val_steps = num_sanity_val_steps
        self.accumulate_grad_batches = accumulate_grad_batches
        self.precision = check_precision(precision)
        self.default_root_dir = Path(default_root_dir)
        self.name = name
        self.step_options = StepOptions(
            gradient_clip_val, gradient_clip_algorithm, accumulate_grad_batches, jit_compile
        )

        self.loggers: list[Logger] = _as_list(logger) if not isinstance(logger, bool) else []
        if logger is True:
            self.loggers = [TensorBoardLogger(), CSVLogger()]
        given = _as_list(callbacks)
        self.default_callbacks: list[Callback] = []
        for wanted, default in (
            (enable_progress_bar, ProgressBar),
            (enable_model_summary, ModelSummary),
            (bool(self.loggers), ThroughputMonitor),
            (enable_checkpointing, ModelCheckpoint),
        ):
            if wanted and not any(isinstance(callback, default) for callback in given):
                self.default_callbacks.append(default())
        if not enable_checkpointing and any(isinstance(callback, ModelCheckpoint) for callback in given):
            if not self.fast_dev_run:
                raise TrainerError(
                    "enable_checkpointing=False, but callbacks holds a ModelCheckpoint. Drop one of them."
                )
            given = [callback for callback in given if not isinstance(callback, ModelCheckpoint)]
        if max_time is not None:
            self.default_callbacks += _timer(max_time, given)
        self.given_callbacks = given
        self.callbacks: list[Callback] = [*given, *self.default_callbacks]

        # Where the run is. `batch_idx` counts the batches of the current epoch that are done.
        self.current_epoch = 0
        self.batch_idx = 0
        self.global_step = 0
        self.epoch_is_done = False
        self.should_stop = False
        self.stop_is_put_off = False  # should_stop is set, but min_epochs or min_steps are not reached
        self.interrupted = False
        self.sanity_checking = False
        self.resumed = False
        self.validated_at: tuple[int, int] | None = None
        self.stage: str | None = None
        self.run_dir: Path | None = None
        self.module: Module | None = None
        self.datamodule: DataModule | None = None
        self.engine: Engine | None = None
        self.results = Results()
        self.run_opened: list[Callable[[Trainer], None]] = []
        self.num_evaluation_batches: int | float = 0  # of the validation, test or prediction that runs
        self.train_source: Any = None
        self.val_source: Any = None
        self.schedule = FitSchedule(0)

    # --- the four entry points -----------------------------------------------------------------------------------

    def fit(
        self,
        model: Module,
        train_dataloaders: Iterable[Any] | DataModule | None = None,
        val_dataloaders: Iterable[Any] | None = None,
        datamodule: DataModule | None = None,
        ckpt_path: str | os.PathLike[str] | None = None,
    ) -> None:
        """Train a module.

        Ctrl-C ends training cleanly: the weights stay as they are and ``trainer.interrupted`` is True.

        Args:
            model: the module to train.
            train_dataloaders: a source of batches (see `DataModule`), or a DataModule.
            val_dataloaders: the same for validation.
            datamodule: gives both, instead.
            ckpt_path: resume from a checkpoint's folder, a run's folder, "best" or "last" (the newest of this
                experiment that verifies; without one, training starts fresh and says so).
        """
        if isinstance(train_dataloaders, DataModule):
            train_dataloaders, datamodule = None, train_dataloaders
        _one_source(train_dataloaders, datamodule, "fit")
        self.should_stop = self.stop_is_put_off = self.interrupted = self.resumed = False
        self.current_epoch = self.batch_idx = self.global_step = 0
        self.validated_at = None
        with running(self, "fit", model, datamodule):
            checkpoint = find_checkpoint(self, ckpt_path, "fit")
            prepare(self, checkpoint)
            data = self.datamodule
            self.train_source = train_dataloaders if data is None else data.train_dataloader()
            self.val_source = val_dataloaders if data is None else data.val_dataloader()
            self.schedule = make_schedule(self)
            build_for_fit(self)
            if checkpoint is not None:
                restore(self, checkpoint)
                self.run_dir = run_of(checkpoint)
            open_run(self)
            try:
                self.hooks.on_fit_start()
                fit_loop(self)
                self.hooks.on_fit_end()
            finally:
                if self.run_dir is not None:
                    update_metrics(self.run_dir, self.callback_metrics)

    def validate(
        self,
        model: Module | None = None,
        dataloaders: Iterable[Any] | DataModule | None = None,
        ckpt_path: str | os.PathLike[str] | None = None,
        verbose: bool = True,
        datamodule: DataModule | None = None,
    ) -> list[dict[str, float]]:
        """One pass over the validation data: a list with one dict of the values logged."""
        return self._evaluate("validate", "validation", model, dataloaders, ckpt_path, verbose, datamodule)

    def test(
        self,
        model: Module | None = None,
        dataloaders: Iterable[Any] | DataModule | None = None,
        ckpt_path: str | os.PathLike[str] | None = None,
        verbose: bool = True,
        datamodule: DataModule | None = None,
    ) -> list[dict[str, float]]:
        """One pass over the test data: a list with one dict of the values logged."""
        return self._evaluate("test", "test", model, dataloaders, ckpt_path, verbose, datamodule)

    def predict(
        self,
        model: Module | None = None,
        dataloaders: Iterable[Any] | DataModule | None = None,
        datamodule: DataModule | None = None,
        ckpt_path: str | os.PathLike[str] | None = None,
    ) -> list[Any]:
        """The outputs of ``predict_step`` for each batch, as NumPy arrays."""
        return self._run_evaluation("predict", "predict", model, dataloaders, ckpt_path, datamodule)

    def _evaluate(
        self,
        stage: str,
        step: str,
        model: Any,
        dataloaders: Any,
        ckpt_path: Any,
        verbose: bool,
        datamodule: Any,
    ) -> list[dict[str, float]]:
        self._run_evaluation(stage, step, model, dataloaders, ckpt_path, datamodule)
        values = dict(self.callback_metrics)
        if verbose:
            print_results(values, self.run_dir)
        return [values]

    def _run_evaluation(
        self, stage: str, step: str, model: Any, dataloaders: Any, ckpt_path: Any, datamodule: Any
    ) -> list[Any]:
        if isinstance(dataloaders, DataModule):
            dataloaders, datamodule = None, dataloaders
        model = model or self.module
        if model is None:
            raise TrainerError(f"trainer.{stage}() needs a module: trainer.{stage}(module, ...).")
        if dataloaders is None and datamodule is None and model is self.module:
            datamodule = self.datamodule
        _one_source(dataloaders, datamodule, stage)
        self.results = Results()
        predictions: list[Any] = []
        with running(self, stage, model, datamodule):
            checkpoint = find_checkpoint(self, ckpt_path, stage)
            prepare(self, checkpoint)
            loader = "val" if step == "validation" else step
            source = dataloaders if dataloaders is not None else getattr(self.datamodule, f"{loader}_dataloader")()
            build_for_evaluation(self, step, first_batch(loader, source, self.limits[loader]))
            if checkpoint is not None:
                restore_weights(self, checkpoint)
                self.global_step, self.current_epoch = (
                    checkpoint.state["global_step"],
                    checkpoint.state["epoch"],
                )
                self.run_dir = run_of(checkpoint)
            open_loggers(self)
            predictions = evaluate(self, step, source, number_of_batches(source, self.limits[loader], loader))
            if self.run_dir is not None:
                update_metrics(self.run_dir, self.callback_metrics)
        return predictions

    # --- the run's folder ----------------------------------------------------------------------------------------

    def on_run_opened(self, action: Callable[[Trainer], None]) -> None:
        """Call ``action(trainer)`` when a fit has opened its folder ``trainer.run_dir``, before training starts."""
        self.run_opened.append(action)

    @property
    def experiment_dir(self) -> Path:
        """``<root>/<name>``, where the runs of this experiment are."""
        root = next((logger.save_dir for logger in self.loggers if logger.save_dir), self.default_root_dir)
        name = next((logger.name for logger in self.loggers if logger.name), self.name)
        return Path(root) / (name or _snake_case(type(self.module).__name__))

    def save_checkpoint(self, filepath: str | os.PathLike[str], weights_only: bool = False) -> Path:
        """Write the run's state as a checkpoint folder; see `kgenre.checkpoints`."""
        if self.engine is None:
            raise TrainerError("trainer.save_checkpoint() needs a run: call trainer.fit() first.")
        arrays = self.engine.state_dict()
        weights = {name: arrays.pop(name) for name in self.engine.built.variables}
        return write_checkpoint(Checkpoint(weights, {} if weights_only else arrays, run_state(self)), filepath)

    # --- what users read -----------------------------------------------------------------------------------------

    @property
    def callback_metrics(self) -> dict[str, float]:
        """Every value logged so far, newest by name. Reading it fetches the newest step's values: do it rarely."""
        return self.results.current()

    @property
    def logged_metrics(self) -> dict[str, float]:
        """What went to the loggers."""
        return self.results.logged

    @property
    def progress_bar_metrics(self) -> dict[str, float]:
        """What the progress bar shows."""
        return self.results.progress_bar

    @property
    def logger(self) -> Logger | None:
        """The first logger."""
        return self.loggers[0] if self.loggers else None

    @property
    def log_dir(self) -> Path | None:
        """The run's folder; None before a run, or where nothing is written."""
        return self.run_dir

    @property
    def optimizers(self) -> list[Any]:
        """The Keras optimizers of the running fit."""
        return list(self.engine.built.optimizers) if self.engine else []

    def learning_rates(self) -> list[float]:
        """The current learning rate of each optimizer."""
        rates = [optimizer._learning_rate for optimizer in self.optimizers]
        return [
            float(rate(self.global_step)) if callable(rate) else float(self.engine.get_variable(rate)) for rate in rates
        ]

    def set_learning_rate(self, value: float, optimizer: int = 0) -> None:
        """Give an optimizer another learning rate, from the next step on."""
        self.engine.set_variable(self.optimizers[optimizer]._learning_rate, value)

    @property
    def checkpoint_callback(self) -> ModelCheckpoint | None:
        """The first `ModelCheckpoint`."""
        return next((c for c in self.callbacks if isinstance(c, ModelCheckpoint)), None)

    @property
    def estimated_stepping_batches(self) -> int | float:
        """Optimizer updates that this fit will make: for schedules with a known end."""
        return make_schedule(self).stepping_batches

    @property
    def num_training_batches(self) -> int | float:
        """Training batches in an epoch."""
        return self.schedule.training_batches

    @property
    def num_val_batches(self) -> int | float:
        """Validation batches in a validation."""
        return self.schedule.validation_batches


def _one_source(dataloaders: Any, datamodule: Any, stage: str) -> None:
    if (dataloaders is None) == (datamodule is None):
        got = "both" if dataloaders is not None else "neither"
        raise TrainerError(f"trainer.{stage}() takes either batches or a datamodule. Received: {got}.")


def _at_least(**arguments: tuple[float | None, float]) -> None:
    for name, (value, least) in arguments.items():
        if value is not None and value < least:
            raise TrainerError(f"{name} must be at least {least}. Received: {value}")


def _timer(max_time: Any, given: list[Callback]) -> list[Callback]:
    try:
        duration = read_duration("max_time", max_time)
    except ValueError as error:
        raise TrainerError(str(error)) from None
    if any(isinstance(callback, Timer) for callback in given):
        raise TrainerError(f"max_time={max_time!r}, but callbacks holds a Timer. Drop one of them.")
    return [Timer(duration)]


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _snake_case(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
