"""The Trainer: its flags, and fit, validate, test and predict."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kgenre.callbacks import Callback, GradientAccumulationScheduler
from kgenre.callbacks.results_table import print_results
from kgenre.checkpoints import Checkpoint, write_checkpoint
from kgenre.engines.step_options import StepOptions
from kgenre.lightning_arguments import check_argument, explain_arguments
from kgenre.loggers import Logger
from kgenre.profilers import Profiler
from kgenre.training.accelerator import log_devices
from kgenre.training.ckpt_path import read_ckpt_path
from kgenre.training.cleanup import cleaning_up
from kgenre.training.data_module import DataModule
from kgenre.training.errors import TrainerError
from kgenre.training.evaluation_loop import evaluate
from kgenre.training.evaluation_sources import EvaluationSource, evaluation_sources
from kgenre.training.fit_loop import fit_loop
from kgenre.training.flags import CHECKED, FIXED, NEVER, check_clip_val, check_flag, check_together, read_flags
from kgenre.training.jit_compile import choose_jit_compile, log_faster_setting
from kgenre.training.lightning_names import TRAINER_REPLACEMENTS
from kgenre.training.limits import check_limit
from kgenre.training.module import Module
from kgenre.training.open_run import join_run, open_run, run_of
from kgenre.training.results import Results
from kgenre.training.resume import restore, restore_logs, restore_trainable, restore_weights, resume_step, run_state
from kgenre.training.run import Run, Stage
from kgenre.training.run_folder import tidy_runs, update_metrics
from kgenre.training.stage import (
    build_for_evaluation,
    build_for_fit,
    load_sources,
    make_schedule,
    prepare,
    running,
)
from kgenre.training.steps_per_execution import choose_steps_per_execution

_log = logging.getLogger("kgenre")

Limit = int | float | None

_BETWEEN_RUNS = "The flag of this name; it may be changed between runs."
_READ_LATER = ("log_every_n_steps", "num_sanity_val_steps", "reload_dataloaders_every_n_epochs")


def _check_unread(trainer: Trainer, name: str) -> None:
    """Refuse a new value for a flag that the running fit has read already: it would be ignored, or used in part."""
    is_read = trainer.stage == "fit" and trainer.state.status == "running" and trainer.schedule.training_batches
    if is_read and name not in _READ_LATER:
        raise TrainerError(
            f"trainer.{name} was set in a hook of trainer.fit(), which goes on with the value that it began with. Set "
            "it between runs, or in setup(). In a hook, trainer.should_stop = True ends the fit, and a "
            "GradientAccumulationScheduler changes the accumulation."
        )


def _flag(name: str) -> Any:
    """The property for a flag that the trainer keeps under its name, checked as in ``Trainer(...)``."""

    def set_flag(trainer: Trainer, value: Any) -> None:
        _check_unread(trainer, name)
        if not (name in NEVER and value == math.inf):
            check_argument(Trainer.__init__, name, value)
        vars(trainer)[name] = check_flag(name, value, trainer)

    return property(lambda trainer: vars(trainer)[name], set_flag, doc=_BETWEEN_RUNS)


def _fixed(name: str) -> Any:
    """The property for a flag that is read when the trainer is created."""

    def set_flag(trainer: Trainer, value: Any) -> None:
        if name in vars(trainer):
            raise TrainerError(f"trainer.{name} cannot be set: create another Trainer({name}={value!r}).")
        vars(trainer)[name] = value

    return property(lambda trainer: vars(trainer)[name], set_flag, doc="The flag of this name; it cannot be changed.")


def _limit(stage: str) -> Any:
    """The property ``limit_<stage>_batches``."""
    name = f"limit_{stage}_batches"

    def set_limit(trainer: Trainer, limit: Limit) -> None:
        check_argument(Trainer.__init__, name, limit)
        if stage in ("train", "val"):
            _check_unread(trainer, name)
        trainer.limits = trainer.limits | {stage: check_limit(name, limit)}

    return property(lambda trainer: trainer.limits[stage], set_limit, doc=_BETWEEN_RUNS)


def _clipping(name: str) -> Any:
    """The property ``gradient_clip_val`` or ``gradient_clip_algorithm``."""

    def set_clipping(trainer: Trainer, value: Any) -> None:
        _check_unread(trainer, name)
        check_argument(Trainer.__init__, name, value)
        if name == "gradient_clip_val":
            check_clip_val(value)
        trainer.step_options = dataclasses.replace(trainer.step_options, **{name: value})

    return property(lambda trainer: getattr(trainer.step_options, name), set_clipping, doc=_BETWEEN_RUNS)


class Trainer(Run):
    """Runs a `Module` on the backend that ``KERAS_BACKEND`` names, with Lightning's flags and order of events.

    One ``global_step`` is one optimizer update, on every axis. Public are the methods and properties of this class and
    of `Run`, and the attributes ``current_epoch``, ``global_step``, ``batch_idx``, ``is_last_batch``, ``should_stop``,
    ``interrupted``, ``resumed``, ``state``, ``ckpt_path``, ``run_dir``, ``results_dir``, ``datamodule``, ``loggers``
    and ``profiler``. All others belong to the loops and to kgenre's own callbacks, and may change.

    Args:
        max_epochs: stop after this many epochs; -1: no limit; None: 1000, or no limit if ``max_steps`` is given.
        min_epochs: do not stop early (``should_stop``) before this many epochs; None: 0.
        max_steps: stop after this many optimizer updates; -1: no limit.
        min_steps: do not stop early before this many optimizer updates; None: 0.
        max_time: stop after this much training time: "DD:HH:MM:SS", a dict with the keywords of `datetime.timedelta`,
            or a timedelta; None: no limit. Adds a `Timer`.
        limit_train_batches: batches per epoch, a count or a fraction; None: all. The same for val, test, predict.
            0 skips the stage.
        fast_dev_run: a smoke test: run this many batches of each stage once (True: 1), without writing files.
        overfit_batches: train on the same batches in each epoch, a count or a fraction, kept in memory if their source
            has no ``epoch_batches``; 0: off.
        log_every_n_steps: log step values every n optimizer updates; 0: never; None: 50.
        val_check_interval: validate every n batches (int), or after this fraction of an epoch (float).
        check_val_every_n_epoch: validate every n epochs only; None: ``val_check_interval`` counts batches across
            epochs.
        num_sanity_val_steps: validation batches to run before training; 0: none; -1: all; None: 2.
        accumulate_grad_batches: batches whose mean gradient is used for one update.
        gradient_clip_val: largest global norm, or absolute value, of the gradient; None: no clipping.
        gradient_clip_algorithm: "norm" or "value".
        precision: "32-true"; "bf16-mixed" or "16-mixed": layers compute in 16 bits, weights stay float32 (float16 with
            dynamic loss scaling); "bf16-true": weights in bfloat16 too. Layers use it if they are created in
            ``configure_model``; those created in ``__init__`` are refused.
        accelerator: "cpu" or "gpu"; "auto": the GPU if the backend finds one.
        devices: the number of devices (-1: all), or a list of indices; "auto": one, or all with "data_parallel". Under
            JAX a CPU can act as any number of devices, which share its cores.
        strategy: "single" device; "data_parallel": several devices split each batch, under JAX only (batches must be
            divisible by their number); "auto": as ``devices`` requires.
        deterministic: repeat and resume bit for bit on the same machine (tested on CPUs); needs `seed_everything`. An
            operation without a deterministic version raises an error ("warn": torch only warns), from then on in the
            whole process; some operations are slower, and "auto" chooses nothing by measurement: single steps, no XLA
            under TensorFlow.
        callbacks: one or several; ``trainer.callbacks`` may be changed between runs.
        logger: True or None: TensorBoard and CSV; False: none; or one or several loggers.
        default_root_dir: where runs are written, as ``<root>/<name>/version_<n>``.
        name: the name of the experiment in that path; None: the module's class name.
        enable_checkpointing: add a `ModelCheckpoint` (the last, and the best by ``val/loss``) if none is given. None:
            on, as for the next two.
        enable_progress_bar: show progress on a terminal and in a notebook, one line per epoch elsewhere.
        enable_model_summary: print layers and parameter counts before training.
        profiler: "simple", "advanced", "trace" or a `Profiler`.
        detect_anomaly: stop at the first loss or weight that is NaN or infinite and say where it comes from; slow.
        barebones: turn off everything that takes time (checkpoints, loggers, ``self.log``, progress bar, summary,
            sanity check), to measure the overhead of the trainer itself.
        reload_dataloaders_every_n_epochs: ask the datamodule for new data sources every n epochs; 0: never.
        jit_compile: compile TensorFlow's steps with XLA; None: no; "auto": if that was measured to be faster for this
            model on this machine (kept in the cache folder; a resumed run keeps its setting). JAX always compiles,
            torch never.
        steps_per_execution: run this many training steps in one compiled call, which ends early if something is due
            (logging, validation, a checkpoint, ``max_steps``): the same numbers with less overhead, for short steps.
            "auto": up to 32, or 1, measured at the start of runs of 1,000 steps or more, kept on resume; 1 if a
            module or callback has hooks of training batches (see `Callback.next_step_needed`), and for convolutions on
            a CPU.

    Raises:
        TrainerError: an invalid value.
        ArgumentError: an argument that does not exist, or of a wrong type.

    Example:
        >>> trainer = Trainer(max_epochs=3)
        >>> trainer.fit(module, train_batches, val_batches)
        >>> trainer.test(module, test_batches)[0]["test/loss"]
    """

    max_epochs, min_epochs, max_steps, min_steps = map(_flag, ("max_epochs", "min_epochs", "max_steps", "min_steps"))
    log_every_n_steps, num_sanity_val_steps = _flag("log_every_n_steps"), _flag("num_sanity_val_steps")
    val_check_interval, check_val_every_n_epoch = _flag("val_check_interval"), _flag("check_val_every_n_epoch")
    accumulate_grad_batches, precision = _flag("accumulate_grad_batches"), _flag("precision")
    jit_compile, steps_per_execution = _flag("jit_compile"), _flag("steps_per_execution")
    reload_dataloaders_every_n_epochs = _flag("reload_dataloaders_every_n_epochs")
    accelerator, devices, strategy, deterministic = map(_flag, ("accelerator", "devices", "strategy", "deterministic"))
    limit_train_batches, limit_val_batches = _limit("train"), _limit("val")
    limit_test_batches, limit_predict_batches = _limit("test"), _limit("predict")
    fast_dev_run, overfit_batches, barebones, max_time, detect_anomaly = map(_fixed, FIXED[:5])
    enable_checkpointing, enable_progress_bar, enable_model_summary = map(_fixed, FIXED[5:])
    gradient_clip_val, gradient_clip_algorithm = _clipping("gradient_clip_val"), _clipping("gradient_clip_algorithm")

    @explain_arguments
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
        log_every_n_steps: int | None = None,
        val_check_interval: int | float = 1.0,
        check_val_every_n_epoch: int | None = 1,
        num_sanity_val_steps: int | None = None,
        accumulate_grad_batches: int = 1,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: Literal["norm", "value"] = "norm",
        precision: str | int = "32-true",
        accelerator: Literal["auto", "cpu", "gpu"] = "auto",
        devices: int | list[int] | str = "auto",
        strategy: Literal["auto", "single", "data_parallel"] = "auto",
        deterministic: bool | Literal["warn"] = False,
        callbacks: Callback | list[Callback] | None = None,
        logger: Logger | list[Logger] | bool | None = None,
        default_root_dir: str | None = "runs",
        name: str | None = None,
        enable_checkpointing: bool | None = None,
        enable_progress_bar: bool | None = None,
        enable_model_summary: bool | None = None,
        profiler: Profiler | str | None = None,
        detect_anomaly: bool = False,
        barebones: bool = False,
        reload_dataloaders_every_n_epochs: int = 0,
        jit_compile: bool | Literal["auto"] | None = None,
        steps_per_execution: int | Literal["auto"] = "auto",
    ) -> None:
        flags = read_flags({name: value for name, value in locals().items() if name not in ("self", "__class__")})
        super().__init__()
        for name_of_flag in (*CHECKED, *FIXED):
            setattr(self, name_of_flag, getattr(flags, name_of_flag))
        self.limits: dict[str, Limit] = flags.limits
        self.step_options = StepOptions(gradient_clip_val, gradient_clip_algorithm)  # the others are set in `running`
        self.default_root_dir = Path(os.path.expanduser(flags.default_root_dir))
        self.name = name
        self.loggers = flags.loggers
        self.given_callbacks: list[Callback] = flags.given_callbacks
        self.default_callbacks: list[Callback] = flags.default_callbacks
        self.callbacks = [*self.given_callbacks, *self.default_callbacks]
        self.used_callbacks = list(self.callbacks)  # to find what a user adds to `callbacks`, or removes
        self.profiler = flags.profiler

    if not TYPE_CHECKING:  # a type checker would accept any attribute

        def __getattr__(self, name: str) -> Any:
            """Raise an error that says what to write instead of a Lightning attribute that does not exist here."""
            if name in TRAINER_REPLACEMENTS:
                raise AttributeError(f"Trainer has no attribute {name!r}: {TRAINER_REPLACEMENTS[name]}.")
            return object.__getattribute__(self, name)  # raises Python's own error, or a property's

    # --- the four entry points -----------------------------------------------------------------------------------

    @explain_arguments
    def fit(
        self,
        model: Module,
        train_dataloaders: Iterable[Any] | DataModule | None = None,
        val_dataloaders: Iterable[Any] | None = None,
        datamodule: DataModule | None = None,
        ckpt_path: str | os.PathLike[str] | None = None,
    ) -> None:
        """Train a module.

        Ctrl-C ends training after the current step: a `ModelCheckpoint` saves, ``trainer.interrupted`` is True and
        ``fit`` returns; a `KeyboardInterrupt` that a hook raises does the same. So do SIGTERM and, if the terminal is
        closed, SIGHUP, but they then end the program with exit codes 143 and 129. A second signal ends it at once. A
        fit that fails before its first step (an invalid argument of a callback, a failed sanity check) leaves no folder
        behind, unless somebody else wrote into it.

        Args:
            model: the module to train.
            train_dataloaders: a source of batches (see `DataModule`), or a DataModule; None: the module's own
                ``train_dataloader``.
            val_dataloaders: the same for validation; or a list, tuple or dict of several (see
                `Module.validation_step`). None: the module's own ``val_dataloader``, if it has one.
            datamodule: provides both instead.
            ckpt_path: resume from a checkpoint's folder, a run's folder (its newest checkpoint that verifies), "best"
                or "last" (this experiment's newest that verifies; if all are damaged, an error; if there is none,
                training starts from the beginning, with a warning).
        """
        self._refuse_if_running("fit")
        check_together(self)
        if isinstance(train_dataloaders, DataModule):
            train_dataloaders, datamodule = None, train_dataloaders
        self.data = _source_of_batches("fit", "train", model, train_dataloaders, datamodule)
        if datamodule is not None and val_dataloaders is not None:
            raise TrainerError("trainer.fit() takes either val_dataloaders or a datamodule. Received: both.")
        # Not `datamodule or model`: a datamodule with a length may be empty before its `setup`.
        provider = model if datamodule is None else datamodule
        self.val_data = provider if val_dataloaders is None else None
        self.train_source, self.val_source = train_dataloaders, val_dataloaders
        self._begin_fit()
        self.results = Results(self.loggers)
        with running(self, "fit", model, datamodule):
            tidy_runs(self.experiment_dir)
            checkpoint = read_ckpt_path(self, ckpt_path, "fit")
            self.fit_dir, self.has_fitted = None, True
            self.ckpt_path = checkpoint.path if checkpoint else None
            prepare(self, "fit", checkpoint)
            load_sources(self)
            batch = build_for_fit(self, checkpoint)
            if checkpoint is not None:
                restore(self, checkpoint)
                self.run_dir = run_of(checkpoint)
            if not self.is_trial:
                log_devices(self.accelerator, self.step_options.devices, self.precision)
            self.chosen_jit_compile = choose_jit_compile(self, batch)
            self.chosen_steps_per_execution = choose_steps_per_execution(self, batch)
            log_faster_setting(self)
            open_run(self, resume_step(checkpoint))
            if checkpoint is not None:
                restore_logs(self, checkpoint)
            with cleaning_up([("Writing the metrics", self._write_final_metrics)]):
                self.hooks.on_fit_start()
                restore_trainable(self, checkpoint)
                with self.stop_signal.deferred():
                    fit_loop(self)
                self.hooks.on_fit_end()
                self.results.write(self.global_step)  # what the last hooks have logged

    def _write_final_metrics(self) -> None:
        if self.run_dir is not None:
            update_metrics(self.run_dir, self.callback_metrics)

    @explain_arguments
    def validate(
        self,
        model: Module | None = None,
        dataloaders: Iterable[Any] | DataModule | None = None,
        ckpt_path: str | os.PathLike[str] | None = None,
        verbose: bool = True,
        datamodule: DataModule | None = None,
    ) -> list[dict[str, float]]:
        """Run one pass over the validation data; return a list with one dict of logged values per source.

        Here, in ``test`` and in ``predict`` Ctrl-C is raised, as half a pass has no results.

        Args:
            model: the module; None: that of the last run.
            dataloaders: a source of batches, several, or a DataModule; None: those of the datamodule or module.
            ckpt_path: load the weights of a checkpoint's folder, a run's folder (its best one), "best" or "last". None:
                the weights of ``model`` as they are; without ``model`` "best", if the fit has saved checkpoints.
            verbose: print the results.
            datamodule: provides the batches instead.
        """
        return self._evaluate("validate", model, dataloaders, ckpt_path, verbose, datamodule)

    @explain_arguments
    def test(
        self,
        model: Module | None = None,
        dataloaders: Iterable[Any] | DataModule | None = None,
        ckpt_path: str | os.PathLike[str] | None = None,
        verbose: bool = True,
        datamodule: DataModule | None = None,
    ) -> list[dict[str, float]]:
        """Run one pass over the test data; return a list with one dict of logged values per source."""
        return self._evaluate("test", model, dataloaders, ckpt_path, verbose, datamodule)

    @explain_arguments
    def predict(
        self,
        model: Module | None = None,
        dataloaders: Iterable[Any] | DataModule | None = None,
        datamodule: DataModule | None = None,
        return_predictions: bool = True,
        ckpt_path: str | os.PathLike[str] | None = None,
    ) -> list[Any] | None:
        """Return the outputs of ``predict_step`` for each batch, as NumPy arrays; for several sources, a list of these.

        With ``return_predictions=False`` nothing is kept and None is returned: use it with a `PredictionWriter` for
        predictions that do not fit in memory.
        """
        self._refuse_if_running("predict")
        self.keeps_predictions = return_predictions
        _, predictions = self._run_evaluation("predict", model, dataloaders, ckpt_path, datamodule)
        if not return_predictions:
            return None
        return predictions[0] if len(predictions) == 1 else predictions

    def _evaluate(
        self,
        stage: Stage,
        model: Module | None,
        dataloaders: Iterable[Any] | DataModule | None,
        ckpt_path: str | os.PathLike[str] | None,
        verbose: bool,
        datamodule: DataModule | None,
    ) -> list[dict[str, float]]:
        sources, _ = self._run_evaluation(stage, model, dataloaders, ckpt_path, datamodule)
        if not sources:
            return []
        values = dict(self.callback_metrics)
        if verbose:
            # Values logged with logger=False are details for metrics.json: not printed.
            print_results({name: v for name, v in values.items() if name in self.logged_metrics}, self.results_dir)
        built = self.engine.built
        names = [{entry.name for entry in (*built.entries[one.stage], *built.metrics[one.stage])} for one in sources]
        # Values logged in hooks belong to all sources.
        shared = set(values) - set().union(*names)
        return [{name: value for name, value in values.items() if name in mine | shared} for mine in names]

    def _run_evaluation(
        self,
        stage: Stage,
        model: Module | None,
        dataloaders: Iterable[Any] | DataModule | None,
        ckpt_path: str | os.PathLike[str] | None,
        datamodule: DataModule | None,
    ) -> tuple[list[EvaluationSource], list[list[Any]]]:
        self._refuse_if_running(stage)
        if isinstance(dataloaders, DataModule):
            dataloaders, datamodule = None, dataloaders
        # As in Lightning.
        if model is None and ckpt_path is None and self.fit_dir and (self.fit_dir / "checkpoints" / "best").is_file():
            ckpt_path = "best"
        model = self._module if model is None else model
        if model is None:
            raise TrainerError(f"trainer.{stage}() needs a module: trainer.{stage}(module, ...).")
        if dataloaders is None and datamodule is None and model is self._module:
            datamodule = self.datamodule
        step, loader = ("validation", "val") if stage == "validate" else (stage, stage)
        data = _source_of_batches(stage, loader, model, dataloaders, datamodule)
        self.results = Results()
        sources: list[EvaluationSource] = []
        predictions: list[list[Any]] = []
        with running(self, stage, model, datamodule):
            checkpoint = read_ckpt_path(self, ckpt_path, stage)
            self.ckpt_path = checkpoint.path if checkpoint else None
            prepare(self, stage, checkpoint)
            given = dataloaders if data is None else getattr(data, f"{loader}_dataloader")()
            if given is None:
                raise TrainerError(
                    f"{type(data).__name__}.{loader}_dataloader() must return a data pipeline. Received: None"
                )
            sources = evaluation_sources(model, step, given, self.limits[loader])
            if self.limits[loader] == 0:
                _log.info("trainer.%s() is skipped: limit_%s_batches=0.", stage, loader)
                return [], []
            build_for_evaluation(self, sources)
            if checkpoint is not None:
                restore_weights(self, checkpoint)
                self.has_loaded_weights = True
                self.global_step, self.current_epoch = (checkpoint.state[name] for name in ("global_step", "epoch"))
                self.run_dir = run_of(checkpoint)
            folder = join_run(self)
            predictions = evaluate(self, step, sources)
            self.results.write(self.global_step)  # what the last hook has logged
            if folder is not None and (metrics := self.callback_metrics | _about(self)):
                update_metrics(folder, metrics)
        return sources, predictions

    def save_checkpoint(self, filepath: str | os.PathLike[str], weights_only: bool = False) -> Path:
        """Write the run's state as a checkpoint folder, replacing a checkpoint that is there; see `kgenre.checkpoints`.

        After an evaluation with ``ckpt_path`` it has weights only, as the optimizer's state is not theirs.

        Raises:
            FileExistsError: something other than a checkpoint is there.
            TrainerError: nothing has run, or the weights of the last steps were lost in an error (under JAX).
        """
        if self._engine is None:
            raise TrainerError("trainer.save_checkpoint() needs a run: call trainer.fit() first.")
        if self._engine.has_lost_steps:  # its counters would be ahead of its weights
            raise TrainerError(
                "trainer.save_checkpoint() has no weights of the last steps: they were lost in the error that ended "
                "the run. Resume from the newest checkpoint (ckpt_path='last'), or save the module's Keras model as it "
                "is."
            )
        return write_checkpoint(self.dump_checkpoint(weights_only), filepath)

    def dump_checkpoint(self, weights_only: bool = False) -> Checkpoint:
        """Return the run's state in memory; its arrays may be overwritten by the next step (see `Checkpoint.copy`)."""
        weights_only = weights_only or self.has_loaded_weights
        self.engine.pull()  # hooks may have frozen layers, whose gradients are then not accumulated
        self.results.write_pending(self.engine)  # pending values would be lost in a crash
        if self.logs_are_due:
            self.results.write(self.global_step)
        arrays = self.engine.state_dict()
        for part in self.engine.built.parts:
            part.exchange(arrays)
        weights = {name: arrays.pop(name) for name in self.engine.built.variables}
        epoch = {} if weights_only or "train" not in self.engine.built.entries else self.engine.epoch_state()
        return Checkpoint(weights, {} if weights_only else arrays, run_state(self), epoch=epoch)

    @property
    def estimated_stepping_batches(self) -> int | float:
        """The number of optimizer updates in this fit, for schedules with a known end; infinite if it has none."""
        schedule, epochs = make_schedule(self), self.max_epochs
        scheduler = next((c for c in self.callbacks if isinstance(c, GradientAccumulationScheduler)), None)
        if scheduler is None or math.isinf(epochs) or math.isinf(schedule.training_batches):
            return schedule.stepping_batches
        counts = [scheduler.get_accumulate_grad_batches(epoch) for epoch in range(epochs)]
        updates = sum(math.ceil(schedule.training_batches / count) for count in counts)
        return updates if self.max_steps == -1 else min(updates, self.max_steps)


def _about(trainer: Trainer) -> dict[str, float | str]:
    """Which weights were evaluated, as the run may continue after it, and where data other than the run's come from."""
    about: dict[str, float | str] = {}
    if stage := {"validate": "val", "test": "test"}.get(trainer.stage or ""):
        about[f"{stage}/step"] = trainer.global_step
        if trainer.ckpt_path is not None:
            about[f"{stage}/checkpoint"] = trainer.ckpt_path.name
    if trainer.datamodule is not None and trainer.datamodule.results_name:
        about["data/source"] = trainer.datamodule.results_source
    return about


def _source_of_batches(
    stage: str, loader: str, model: Module, batches: Iterable[Any] | None, datamodule: DataModule | None
) -> DataModule | Module | None:
    """Return the object that provides the batches: the datamodule, or a module with dataloaders; None if given."""
    if batches is not None and datamodule is not None:
        raise TrainerError(f"trainer.{stage}() takes either batches or a datamodule. Received: both.")
    if batches is not None or datamodule is not None:
        return datamodule
    if not hasattr(model, f"{loader}_dataloader"):
        raise TrainerError(f"trainer.{stage}() takes either batches or a datamodule. Received: neither.")
    return model
