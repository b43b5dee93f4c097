"""What a checkpoint keeps of a run, and how a run is resumed from it."""

from __future__ import annotations

import logging
import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kgenre import checkpoints
from kgenre.checkpoints import Checkpoint, CheckpointError
from kgenre.engines.random_state import random_state, set_random_state
from kgenre.engines.step_part import ONLY_SHOWN
from kgenre.training.configured_rates import apply_changed_rates
from kgenre.training.hyperparameters import changed_hyperparameters, class_and_hyperparameters
from kgenre.training.other_batches import warn_of_another_order, warn_of_other_batches
from kgenre.training.run_folder import environment

if TYPE_CHECKING:
    import keras

    from kgenre.callbacks import Callback
    from kgenre.loggers import Logger
    from kgenre.training.data_module import DataModule
    from kgenre.training.module import Module
    from kgenre.training.results import Results
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


def run_state(trainer: Trainer) -> dict[str, Any]:
    """The state of a run except its arrays: counters, callbacks, hyperparameters, data, versions."""
    from kgenre.engines.adapted_layers import adapted_state

    t, results = trainer, trainer.fit_results or trainer.results  # an evaluation has others since
    done = t.epoch_is_done  # at the end of an epoch, the run resumes with the next one
    state: dict[str, Any] = {
        "epoch": t.current_epoch + done,
        "batch": 0 if done else t.batch_idx,
        "batches_before": t.schedule.batches_before + (t.batch_idx if done else 0),
        "global_step": t.global_step,
        "validated_at": t.validated_at,
        # A stop that waits for min_epochs or min_steps; what is over for another reason may be continued.
        "stop_is_put_off": t.should_stop and not t.schedule.may_stop(t.current_epoch + done, t.global_step),
        "steps_per_execution": t.chosen_steps_per_execution,
        "jit_compile": t.chosen_jit_compile,
        "configured_rates": t.configured_rates,
        "trainable": trainable_changes(t, t.trainable_at_start),
        "trainable_when_built": {name: not flag for name, flag in trainable_changes(t, t.engine.built.flags).items()},
        "logs": results.state_dict(t.global_step),
        "loggers": {key: logger.state_dict(t.global_step) for key, logger in _loggers(results)},
        "random": random_state(),
        "callbacks": {key: callback.state_dict() for key, callback in _by_key(t.callbacks)},
        "batches": t.engine.built.specs,
        "adapted": adapted_state(t.module),
        "model": class_and_hyperparameters(t.module),
        "environment": environment(trainer.step_options.devices),
    }
    if t.datamodule is not None:
        state["data"] = data_module_record(t.datamodule)
    for callback in t.callbacks:
        callback.on_save_checkpoint(t, t.module, state)
    t.module.on_save_checkpoint(state)
    return state


def trainable_changes(trainer: Trainer, before: Mapping[str, bool]) -> dict[str, bool]:
    """The ``trainable`` flags of layers and variables that were frozen or unfrozen since ``before``."""
    from kgenre.engines.trainable_flags import trainable_flags

    return {name: flag for name, flag in trainable_flags(trainer.module).items() if before.get(name, flag) != flag}


def restore_trainable_when_built(module: Module, checkpoint: Checkpoint) -> None:
    """Set the flags that hooks had changed to what they were when the checkpoint's optimizer was built."""
    from kgenre.engines.trainable_flags import set_trainable_flags

    with _reading(checkpoint, "the trainable flags"):
        set_trainable_flags(module, checkpoint.state.get("trainable_when_built", {}))


def restore_trainable(trainer: Trainer, checkpoint: Checkpoint | None) -> None:
    """Record what is trained as a fit starts, after ``on_fit_start``: what the module itself sets holds on resume too.

    Then freeze and unfreeze what hooks of the checkpoint's run had frozen and unfrozen by then.
    """
    from kgenre.engines.trainable_flags import set_trainable_flags, trainable_flags

    began = trainer.trainable_at_start = trainer.trainable_at_start or trainable_flags(trainer.module)
    if checkpoint is not None:
        with _reading(checkpoint, "the trainable flags"):
            changes = checkpoint.state.get("trainable", {})  # missing in older checkpoints
            set_trainable_flags(trainer.module, began | changes)
        variables = {name.removeprefix("variables."): flag for name, flag in changes.items() if "variables." in name}
        for word, wanted in (("Frozen", False), ("Unfrozen", True)):
            names = [n for n, flag in variables.items() if flag is wanted and began.get(f"variables.{n}") is not wanted]
            if names:
                more = f" and {len(names) - 3} more" if names[3:] else ""
                _log.info("%s during the fit, and so in the checkpoint: %s%s.", word, ", ".join(names[:3]), more)


def data_module_record(data: DataModule) -> dict[str, Any]:
    """What a checkpoint keeps of a datamodule: its class, its hyperparameters and its state."""
    return class_and_hyperparameters(data) | {"state": data.state_dict()}


def restore_own_states(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Restore what the module and the datamodule keep in the checkpoint themselves."""
    trainer.module.on_load_checkpoint(checkpoint.state)
    if trainer.datamodule is not None and "data" in checkpoint.state:  # else the run was trained without a datamodule
        trainer.datamodule.load_state_dict(checkpoint.state["data"].get("state", {}))


def restore(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Restore a built run to the state of the checkpoint.

    Raises:
        CheckpointError: it belongs to another model or optimizer, holds weights only, or has an invalid entry.
    """
    from kgenre.engines.named_variables import refresh_layers

    t, state = trainer, checkpoint.state
    check_position(checkpoint)
    restore_weights(t, checkpoint)
    _check_optimizer(t.module, checkpoint, set(t.engine.built.optimizer_variables))
    arrays = checkpoint.arrays
    for part in t.engine.built.parts:
        part.exchange(arrays)
    t.engine.load_state_dict(arrays)
    refresh_layers(t.module)  # again: with averaged weights, training continues with others than those restored above
    t.current_epoch, t.batch_idx, t.global_step = state["epoch"], state["batch"], state["global_step"]
    usual = 0 if math.isinf(t.schedule.training_batches) else t.schedule.training_batches
    before = state.get("batches_before", t.current_epoch * usual)  # missing in older checkpoints
    t.schedule = replace(t.schedule, batches_before=before)
    t.chosen_steps_per_execution = state.get("steps_per_execution", 0)
    t.chosen_jit_compile = state.get("jit_compile")
    t.validated_at = tuple(state["validated_at"]) if state["validated_at"] else None
    t.saved_epoch = checkpoint.epoch
    t.should_stop = t.should_stop or state.get("stop_is_put_off", False)  # missing in older checkpoints
    keys = _saved_keys(t.callbacks, state["callbacks"])
    if absent := [key for key, kept in state["callbacks"].items() if kept and key not in keys]:
        _log.warning("The run is resumed without callbacks that it had: %s.", ", ".join(absent))
    for key, callback in zip(keys, t.callbacks, strict=True):
        if key is not None:
            with _reading(checkpoint, f"the state of {type(callback).__name__}"):
                callback.load_state_dict(state["callbacks"][key])
        callback.on_load_checkpoint(t, t.module, state)
    if state["random"] is not None:
        with _reading(checkpoint, "the random state"):
            set_random_state(state["random"])
    t.resumed = True
    apply_changed_rates(t, state.get("configured_rates", []))
    warn_of_another_order(t)
    warn_of_other_batches(t, state.get("data"))
    _log.info("Resuming from %s: epoch %d, step %d.", checkpoint.path, t.current_epoch + 1, t.global_step)


def build_as_saved(module: Module, checkpoint: Checkpoint) -> None:
    """Build as in the run what Keras builds on a first batch: layers without an input shape, metrics as F1Score."""
    from kgenre.engines.build_module import build_from_specs
    from kgenre.engines.named_variables import keras_layers, named_variables

    if checkpoint.weights.keys() <= named_variables(module).keys():
        return
    layers_are_built = all(layer.built for layer in keras_layers(module))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the run has shown them
            build_from_specs(module, checkpoint.state["batches"])
    except Exception:
        if not layers_are_built:
            raise
        # Probably another model, which `checked_variables` says better.


def restore_adapted(module: Module, checkpoint: Checkpoint) -> None:
    """Restore what preprocessing layers had learned; called before a step is built on them."""
    from kgenre.engines.adapted_layers import set_adapted_state

    if "adapted" in checkpoint.state:  # missing in older checkpoints
        with _reading(checkpoint, "the state of preprocessing layers"):
            set_adapted_state(module, checkpoint.state["adapted"])


def _check_optimizer(module: Module, checkpoint: Checkpoint, names: set[str]) -> None:
    saved, names = ({n for n in given if not n.startswith(ONLY_SHOWN)} for given in (checkpoint.optimizer, names))
    if saved == names:
        return
    holds = "weights only"
    if saved:
        differences = [f"{name} is only in the checkpoint" for name in sorted(saved - names)]
        differences += [f"{name} is not in the checkpoint" for name in sorted(names - saved)]
        holds = f"the state of a different optimizer ({differences[0]}"
        holds += f" and {len(differences) - 1} more)" if differences[1:] else ")"
        if any(name.startswith("loss_scale.") for name in saved ^ names):
            holds += ", from a run with a different precision"
        if any(name.startswith("weight_averaging.") for name in saved ^ names):
            averages = any(name.startswith("weight_averaging.") for name in saved)
            holds += f", from a run with{'' if averages else 'out'} WeightAveraging"
    advice, config = "", checkpoint.path and checkpoint.path.parent.parent / "config.yaml"
    if saved and config and config.is_file():
        advice = f" To resume it with its own options: --config {config}."
    raise CheckpointError(
        f"Checkpoint {checkpoint.path} holds {holds}, so the run cannot be resumed from it."
        f"{_differing_hyperparameters(module, checkpoint)}{advice} To start from its weights: "
        f"{type(module).__name__}.load_from_checkpoint."
    )


def _differing_hyperparameters(module: Module, checkpoint: Checkpoint) -> str:
    """Return a sentence naming the hyperparameters in which the checkpoint's run differs from this module, or ""."""
    changed = changed_hyperparameters(module, checkpoint.state.get("model"))
    said = (f"{name}={then!r} (here: {now!r})" for name, (then, now) in changed.items())
    return f" Its run had {', '.join(said)}." if changed else ""


def resume_step(checkpoint: Checkpoint | None) -> int | None:
    """The step from which the loggers' values are discarded; the checkpoint holds those of its own step."""
    if checkpoint is None:
        return None
    return checkpoint.state["global_step"] + (checkpoint.state["logs"] is None)


def restore_logs(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Continue the curves, once the loggers are open."""
    t, logs = trainer, checkpoint.state["logs"]
    if logs is not None:
        with _reading(checkpoint, "the logged values"):
            t.results.load_state_dict(logs, t.global_step)
            states = checkpoint.state.get("loggers", {})
            for key, logger in _loggers(t.results):
                logger.load_state_dict(states.get(key, {}), t.global_step)
        if t.batch_idx == 0:  # the epoch's last values, still to be written when the checkpoint was
            t.results.write(t.global_step)


@contextmanager
def _reading(checkpoint: Checkpoint, what: str) -> Iterator[None]:
    """The context for reading a part of ``state.json``: errors mean that the file was damaged or edited."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"Checkpoint {checkpoint.path}: {what} cannot be read ({error!r}).") from error


def check_position(checkpoint: Checkpoint) -> None:
    """Check the entries of the state that give a run's position.

    Raises:
        CheckpointError: one of them is missing or invalid; the first such entry is named.
    """
    state = checkpoint.state
    counts = {name: state.get(name) for name in ("epoch", "batch", "global_step")}
    for name, count in counts.items():
        if not isinstance(count, int) or not 0 <= count < 2**53:
            raise CheckpointError(f"Checkpoint {checkpoint.path} is damaged: state.json has {name}={str(count)[:40]}.")
    at = state.get("validated_at")
    if at is not None and not (isinstance(at, list) and len(at) == 2 and all(isinstance(n, int) for n in at)):
        raise CheckpointError(f"Checkpoint {checkpoint.path} is damaged: state.json has validated_at={str(at)[:40]}.")
    if not isinstance(state.get("callbacks"), dict):
        raise CheckpointError(f"Checkpoint {checkpoint.path} is damaged: state.json has no callbacks.")


def _by_key(callbacks: Sequence[Callback]) -> Iterator[tuple[str, Callback]]:
    """Each callback with the key of its state; callbacks with the same key are numbered, in order."""
    seen: Counter[str] = Counter()
    for callback in callbacks:
        seen[callback.state_key] += 1
        count = seen[callback.state_key]
        yield callback.state_key if count == 1 else f"{callback.state_key}#{count}", callback


def _saved_keys(callbacks: Sequence[Callback], saved: Mapping[str, Any]) -> list[str | None]:
    """The key of each callback's state in a checkpoint; None: it has none there.

    Of several with one `state_key`, each has the state of the one with its arguments, wherever that was in the list;
    the others, whose arguments have changed or were not saved, have the remaining states in order.
    """
    keys: list[str | None] = [None] * len(callbacks)
    for is_own in (_has_arguments_of, lambda callback, state: True):
        for i, callback in enumerate(callbacks):
            own = callback.state_key
            same = (key for key in saved if key == own or key.startswith(f"{own}#"))
            if keys[i] is None:
                keys[i] = next((key for key in same if key not in keys and is_own(callback, saved[key])), None)
    return keys


def _has_arguments_of(callback: Callback, state: Any) -> bool:
    saved = state.get("arguments") if isinstance(state, dict) else None
    return saved is not None and saved == callback.state_dict().get("arguments")


def _loggers(results: Results) -> Iterator[tuple[str, Logger]]:
    """Each open logger with the key of its state."""
    for i, logger in enumerate(results.loggers):
        yield f"{type(logger).__name__}#{i + 1}", logger


def restore_weights(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Restore only the weights, after checking that they are this module's."""
    from kgenre.engines.named_variables import named_variables, refresh_layers

    ours, all_named = trainer.engine.built.variables, named_variables(trainer.module)
    others = {name: v for name, v in all_named.items() if name in checkpoint.weights and name not in ours}
    checked_variables(trainer.module, ours | others, checkpoint)
    trainer.engine.load_state_dict(checkpoint.weights)
    for name, variable in others.items():  # of a step that this stage has not: the test's, in a fit
        variable.assign(checkpoint.weights[name])
    refresh_layers(trainer.module)


def checked_variables(
    module: Module, named: Mapping[str, keras.Variable], checkpoint: Checkpoint
) -> dict[str, keras.Variable]:
    """The variables that the checkpoint has, all but those of metrics that the module has got since.

    Raises:
        CheckpointError: the checkpoint belongs to a different model.
    """
    from kgenre.engines.named_variables import keras_metrics

    counts = {id(variable) for metric in keras_metrics(module) for variable in metric.variables}
    known = {name: v for name, v in named.items() if name in checkpoint.weights or id(v) not in counts}
    try:
        checkpoints.check_weights(known, checkpoint)
    except CheckpointError as error:
        raise CheckpointError(f"{error}{_differing_hyperparameters(module, checkpoint)}") from None
    return known
