"""Prepare a stage of a run (fit, validate, test, predict), and clean up after it."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from kgenre.callbacks import Callback
from kgenre.callbacks.callback import overrides
from kgenre.checkpoints import Checkpoint
from kgenre.engines import Engine, create_engine
from kgenre.engines.backend import check_process
from kgenre.engines.devices import computing_on
from kgenre.engines.replaced_runs import free_replaced, remember
from kgenre.training.accelerator import check_distribution, choose_devices
from kgenre.training.cleanup import Part, attempt, cleaning_up
from kgenre.training.configured_model import configure_model
from kgenre.training.configured_optimizers import configured_optimizers
from kgenre.training.configured_rates import configured_rates
from kgenre.training.data_module import DataModule, iterate_epoch
from kgenre.training.determinism import make_run_deterministic
from kgenre.training.errors import TrainerError
from kgenre.training.evaluation_sources import EvaluationSource, evaluation_sources, one_source
from kgenre.training.exceeded_memory import add_memory_advice
from kgenre.training.fit_schedule import FitSchedule
from kgenre.training.given_callbacks import in_order, stage_callbacks
from kgenre.training.hooks import Hooks
from kgenre.training.hyperparameters import class_and_hyperparameters
from kgenre.training.limits import check_last_batch, number_of_batches, validation_interval
from kgenre.training.module import Module
from kgenre.training.open_run import leave_loggers, leaving_run
from kgenre.training.precision import check_model_precision, policy_of
from kgenre.training.resume import (
    build_as_saved,
    data_module_record,
    restore_adapted,
    restore_own_states,
    restore_trainable_when_built,
)
from kgenre.training.run import RunState, Stage
from kgenre.users_code import hide_library_frames

if TYPE_CHECKING:
    from kgenre.engines.step_part import StepPart
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


@contextmanager
def running(trainer: Trainer, stage: Stage, module: Module, datamodule: DataModule | None) -> Iterator[None]:
    """The context of a stage: however it ends, variables are synced, teardown hooks called and loggers finalized."""
    from kgenre.engines.initial_weights import compiling_steps

    check_process()
    t = trainer
    if not isinstance(module, Module):
        got = f"the class {module.__name__}: create an object" if isinstance(module, type) else type(module).__name__
        raise TrainerError(f"trainer.{stage}() takes a kgenre.Module. Received: {got}")
    if module is not t._module:
        t._engine = t.trained_on = t.run_dir = t.fit_results = None
        leave_loggers(t)
    if stage == "fit":
        t.trained_on, t.fit_results = datamodule, t.results
    elif isinstance(t.trained_on, DataModule) and t.trained_on is not datamodule:
        t.trained_on = data_module_record(t.trained_on)
    t.data_are_new = datamodule is not t.datamodule
    t._module, t.datamodule, t.interrupted, t.set_up = module, datamodule, False, set()
    t.state = RunState(stage)
    if t.profiler is not None:
        t.profiler.setup(stage)
    t.lock = t.new_folder = t.results_dir = None
    with _attached(t, module, datamodule):
        _use_callbacks(t, stage_callbacks(t, module))
        with t.stop_signal.listening(), leaving_run(t), cleaning_up(_cleanup(t, stage)), _telling_of_errors(t, stage):
            t.state.stage, t.state.status = "train" if stage == "fit" else stage, "running"
            devices = choose_devices(t.accelerator, t.devices, t.strategy)
            check_distribution(devices)
            t.step_options = dataclasses.replace(
                t.step_options,
                devices=devices,
                accumulate_grad_batches=t.accumulate_grad_batches,
                loss_scaling=t.precision == "16-mixed",
                jit_compile=t.jit_compile is True,
                deterministic=bool(t.deterministic),
            )
            make_run_deterministic(t.deterministic)
            with compiling_steps(), computing_on(devices):
                yield
            t.state.status, t.new_folder = "finished", None


@contextmanager
def _attached(trainer: Trainer, module: Module, datamodule: DataModule | None) -> Iterator[None]:
    """Let the module and the datamodule refer to the trainer, and give them back to one in whose hook this runs."""
    outer, outer_of_data = module._trainer, None if datamodule is None else datamodule.trainer
    module._trainer = trainer
    if datamodule is not None:
        datamodule.trainer = trainer
    try:
        yield
    finally:
        trainer.state.stage = None
        module._trainer = outer if _is_running(outer) else trainer
        if datamodule is not None:
            datamodule.trainer = outer_of_data if _is_running(outer_of_data) else trainer


@contextmanager
def _telling_of_errors(trainer: Trainer, stage: Stage) -> Iterator[None]:
    """Tell callbacks, module and datamodule of what ends a stage: checkpoints are saved then."""
    t = trainer
    try:
        yield
    except BaseException as error:
        t.state.status = "interrupted"
        t.interrupted = isinstance(error, KeyboardInterrupt) or t.stop_signal.received is not None
        t.new_folder = None if t.interrupted else t.new_folder
        add_memory_advice(t, error)
        if t.interrupted and stage == "fit":
            _log.warning("Interrupted at epoch %d, step %d.", t.current_epoch + 1, t.global_step)
        elif t.interrupted:
            _log.warning("Interrupted: this %s has no results.", stage)
        attempt("Reading the weights", partial(_sync, t))
        t.results.hooks_batch = None
        t.hooks.on_exception(error)
        if t.datamodule is not None:
            attempt(f"{type(t.datamodule).__name__}.on_exception", partial(t.datamodule.on_exception, error))
        # A fit stopped by Ctrl-C returns: it has saved, and can be resumed. Half an evaluation has no result.
        if stage != "fit" or not isinstance(error, KeyboardInterrupt):
            hide_library_frames(error)
            raise


def _cleanup(trainer: Trainer, stage: Stage) -> Iterator[Part]:
    """What is done at the end of a stage, however it ends."""
    t = trainer
    yield "Reading the weights", partial(_sync, t)
    status = "success" if t.state.status == "finished" else "interrupted" if t.interrupted else "failed"
    for logger in t.loggers:
        yield f"{type(logger).__name__}.finalize", partial(logger.finalize, status)
    data = t.datamodule
    if data is not None and (id(data) in t.set_up or not overrides(data, "setup", DataModule)):
        yield f"{type(data).__name__}.teardown", partial(data.teardown, stage)
    yield from t.hooks.teardowns(stage)
    if t.profiler is not None:
        yield f"{type(t.profiler).__name__}.describe", t.profiler.describe


def _is_running(trainer: Trainer | None) -> bool:
    return trainer is not None and trainer.state.status == "running"


def prepare(trainer: Trainer, stage: Stage, checkpoint: Checkpoint | None) -> None:
    """Prepare the data, then the model, which may depend on the data."""
    t, module, data = trainer, trainer.module, trainer.datamodule
    if checkpoint is not None:
        if stage != "fit":
            t.trained_on = checkpoint.state.get("data", {})
        restore_own_states(t, checkpoint)
    elif (
        data is not None
        and t.data_are_new
        and isinstance(t.trained_on, Mapping)
        and t.trained_on.get("class_path") == class_and_hyperparameters(data)["class_path"]
    ):  # the new data must use the genres and words that the module was trained on
        data.load_state_dict(t.trained_on["state"])
    if data is not None:
        data.prepare_data()
    module.prepare_data()
    if data is not None:
        data.setup(stage)
        t.set_up.add(id(data))
    t.hooks.setup(stage)
    with policy_of(t.precision):
        is_replaced = configure_model(module)
    if checkpoint is not None:
        restore_adapted(module, checkpoint)
        if stage == "fit":
            restore_trainable_when_built(module, checkpoint)
        else:
            _build_as_saved(t, checkpoint)
    elif is_replaced:
        message = (
            f"{type(module).__name__}.configure_model created a new network, so the weights of the previous one are "
            "lost. Begin it with `if self.model is not None: return`, and __init__ with `self.model = None`."
        )
        if stage != "fit":
            raise TrainerError(message)
        _log.warning(message)
    check_model_precision(module, t.precision)


def load_sources(trainer: Trainer) -> None:
    """Get the sources of batches, unless they were given, and count their batches."""
    t = trainer
    # A run resumed between two reloads must load what an uninterrupted one has: dataloaders may depend on the epoch.
    epoch, t.current_epoch = t.current_epoch, load_epoch(t)
    try:
        if t.data is not None:
            t.train_source = t.data.train_dataloader()
        if hasattr(t.val_data, "val_dataloader"):
            t.val_source = t.val_data.val_dataloader()
    finally:
        t.current_epoch = epoch
    t.train_source, t.val_sources = one_source(t.train_source), []
    if type(t.module).validation_step is not Module.validation_step:
        t.val_sources = evaluation_sources(t.module, "validation", t.val_source, t.limits["val"])
    t.loaded_in_epoch = load_epoch(t)
    t.schedule = make_schedule(t)
    check_last_batch(t.train_source, t.schedule.training_batches, "train", len(t.step_options.devices))
    _check_last_batches(t, t.val_sources)


def _check_last_batches(trainer: Trainer, sources: Sequence[EvaluationSource]) -> None:
    for one in sources:
        check_last_batch(one.source, one.batches, _loader_name(one.stage), len(trainer.step_options.devices))


def load_epoch(trainer: Trainer) -> int:
    """The epoch in which an uninterrupted run loads the sources of its current epoch."""
    every = trainer.reload_dataloaders_every_n_epochs
    return trainer.current_epoch // every * every if every else 0


def make_schedule(trainer: Trainer) -> FitSchedule:
    """Count the batches of both sources under the trainer's limits, and create the fit's schedule."""
    t = trainer
    training = number_of_batches(t.train_source, t.limits["train"], "train")
    validation = sum(one.batches for one in t.val_sources)
    return FitSchedule(
        training,
        validation,
        validation_interval(t.val_check_interval, training, t.check_val_every_n_epoch is None)
        if validation
        else math.inf,
        t.check_val_every_n_epoch,
        t.schedule.batches_before,
        t.accumulate_grad_batches,
        t.max_epochs,
        t.max_steps,
        t.min_epochs,
        t.min_steps,
    )


def build_for_fit(trainer: Trainer, checkpoint: Checkpoint | None) -> Any:
    """Build a new engine with new optimizers, as each fit has; return the training batch that it was built on."""
    t = trainer
    # With limit_train_batches=0 nothing is trained, but the training step is built all the same.
    batches = {"train": first_batch("train", t.train_source)}
    if t.schedule.validates:
        batches |= first_batches(t.val_sources)
    elif t.val_sources and t.limits["val"] != 0:
        _log.warning("The val data yielded no batches: this fit runs no validation.")
    elif t.val_source is not None and t.limits["val"] != 0:
        name = type(t.module).__name__
        _log.warning("There are val data, but %s has no validation_step: this fit runs no validation.", name)
    t._engine = None
    with policy_of(t.precision):
        configured = configured_optimizers(t.module)
        parts = [callback.step_part for callback in t.callbacks if callback.step_part is not None]
        t._engine = _built_engine(t, configured.optimizers, batches, parts)
    t.configured_rates = configured_rates(t, checkpoint)
    if configured.schedulers and not t.is_trial:
        # First: other callbacks see the rate of the epoch or step that begins, and may change it.
        _use_callbacks(t, in_order([*configured.schedulers, *t.callbacks]))
        for scheduler in configured.schedulers:  # the others' setup was called before the model existed
            scheduler.setup(t, t.module, "fit")
            t.set_up.add(id(scheduler))
    if checkpoint is not None:  # only now: what just a test uses, and had built before the checkpoint, is not trained
        _build_as_saved(t, checkpoint)
    return batches["train"]


def _build_as_saved(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Build what only steps of other stages use. They may need what is not there, and this stage does without them."""
    try:
        with policy_of(trainer.precision):
            build_as_saved(trainer.module, checkpoint)
    except Exception:
        name = type(trainer.module).__name__
        _log.debug("%s cannot be built on the batches of the checkpoint's run.", name, exc_info=True)


def build_for_evaluation(trainer: Trainer, sources: Sequence[EvaluationSource]) -> None:
    """Build the evaluation's steps, anew each time: what they call and read may have changed since the last one.

    In the module's engine, which has the optimizer's state after a fit, unless variables of the module were replaced.
    """
    t = trainer
    _check_last_batches(t, sources)
    batches = first_batches(sources)
    if t._engine is not None and not t._engine.built.is_current:
        t._engine = None
    with policy_of(t.precision):
        if t._engine is None:
            t._engine = _built_engine(t, {}, batches)
        else:
            t._engine.forget_evaluations()
            for stage, batch in batches.items():
                t._engine.add_stage(stage, batch)


def add_stages(trainer: Trainer) -> None:
    """Add validation sets to the engine that did not exist when the fit began: the sources may be new."""
    new = [one for one in trainer.val_sources if one.stage not in trainer.engine.built.entries and one.batches]
    with policy_of(trainer.precision):
        for stage, batch in first_batches(new).items():
            trainer.engine.add_stage(stage, batch)


def _built_engine(
    trainer: Trainer, optimizers: Mapping[str, Any], batches: Mapping[str, Any], parts: Sequence[StepPart] = ()
) -> Engine:
    trainer._engine = None  # free its memory first
    free_replaced()
    engine = create_engine(trainer.step_options)
    remember(engine)
    if trainer.profiler is not None:
        trainer.profiler.watch(engine)
    engine.build(trainer.module, optimizers, batches, parts)
    return engine


def first_batches(sources: Sequence[EvaluationSource]) -> dict[str, Any]:
    """For each of an evaluation's stages, the batch whose shapes its step is built for."""
    return {one.stage: first_batch(one.stage, one.source, one.batches) for one in sources}


def first_batch(stage: str, source: Iterable[Any], batches: int | float = math.inf) -> Any:
    """The batch whose shapes a step is built for."""
    first = next(iter(iterate_epoch(source, 0)), None) if batches else None
    if first is None:
        name = _loader_name(stage)
        raise TrainerError(f"The {name} data yielded no batches. Check them and limit_{name}_batches.")
    return first


def _loader_name(stage: str) -> str:
    return stage.partition("/")[0].replace("validation", "val")


def _sync(trainer: Trainer) -> None:
    if trainer._engine is not None:
        trainer._engine.sync()


def _use_callbacks(trainer: Trainer, callbacks: list[Callback]) -> None:
    trainer.callbacks, trainer.used_callbacks = callbacks, list(callbacks)
    trainer.hooks = Hooks(trainer, trainer.module, callbacks)
