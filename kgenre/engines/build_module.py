"""Builds what a step needs before its first trace: layers, metrics, optimizer slots, names, log entries."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras.src.backend import compute_output_spec

from kgenre.engines.batch_specs import batch_specs, specs_from_json
from kgenre.engines.built_module import BuiltModule
from kgenre.engines.loss_scale import LossScale
from kgenre.engines.named_variables import all_layers, keras_layers, named_optimizer_variables, named_variables
from kgenre.engines.optimizer_errors import explain_optimizer
from kgenre.engines.optimizer_groups import optimizer_groups
from kgenre.engines.step_logs import LogEntry, StepLogs
from kgenre.engines.step_options import StepOptions
from kgenre.engines.step_part import StepPart
from kgenre.engines.traced_step import StepResult, check_known
from kgenre.engines.trainable_flags import trainable_flags
from kgenre.engines.weight_update import configured, is_replaced


def build_module(
    module: Any,
    optimizers: Mapping[str, keras.optimizers.Optimizer],
    batches: Mapping[str, Any],
    options: StepOptions,
    parts: Sequence[StepPart],
) -> BuiltModule:
    """Run each stage's step once on shapes only, then create what training needs.

    Nothing is computed and no variable changes: the step sees symbolic tensors of the batch's shapes and dtypes.

    Args:
        module: the user's module.
        optimizers: a pattern for variable names -> the optimizer of these variables (see `optimizer_groups`); empty for
            evaluation only.
        batches: stage ("train", "validation", "test", "predict") -> one batch of it.
        options: the training step's.
        parts: compiled into each update, after the optimizers.

    Raises:
        StepError: a step does something that cannot be compiled, or a batch contains something that is not a number.
        ValueError: there is nothing to train, a trainable variable is not a float or its gradient cannot be
            accumulated, a variable has no optimizer or an
            optimizer no variables, an optimizer was built for other variables, or several sources of an evaluation log
            the same name.
    """
    built = BuiltModule(module, list(optimizers.values()), parts=list(parts))
    results = {stage: _run_symbolically(built, stage, batch) for stage, batch in batches.items()}
    _find_parts(built)
    trainable = built.trainable
    if optimizers and not trainable:
        raise ValueError(
            f"{type(module).__name__} has no trainable variables: keep its Keras model as an attribute "
            "(self.model = ...) and leave at least one layer trainable."
        )
    if optimizers:
        _check_float(trainable)
        _check_accumulation(trainable, options)
    built.optimized, built.flags = frozenset(map(id, trainable.values())), trainable_flags(module)
    frozen = [name for name in built.variables if name not in trainable]
    built.groups = optimizer_groups(optimizers, trainable, frozen) if optimizers else []
    for position, (optimizer, group) in enumerate(zip(built.optimizers, built.groups, strict=True)):
        _build_optimizer(optimizer, list(group.values()))
        built.optimizer_variables |= named_optimizer_variables(optimizer, group, f"optimizers.{position}")
    if options.loss_scaling:
        built.loss_scale = LossScale()
        built.optimizer_variables |= built.loss_scale.variables
    for part in built.parts:
        built.optimizer_variables |= part.build(module, built.variables)
    for result in results.values():
        _check_used(built, result)
    if optimizers and "train" in results:
        _warn_of_trained_state(built, results["train"])
    return built


def _check_float(trainable: Mapping[str, keras.Variable]) -> None:
    for name, variable in trainable.items():
        if "float" not in variable.dtype:
            raise ValueError(
                f"self.{name} is a trainable variable of {variable.dtype}, but only floats can be trained. Create it "
                "with keras.Variable(..., trainable=False), or dtype='float32' if it is to be trained."
            )


def _check_accumulation(trainable: Mapping[str, keras.Variable], options: StepOptions) -> None:
    if options.accumulate_grad_batches > 1 and (scales := [name for name, v in trainable.items() if is_replaced(v)]):
        raise ValueError(
            f"accumulate_grad_batches={options.accumulate_grad_batches}, but self.{scales[0]} belongs to a layer "
            "quantized to float8, which takes a new scale from each batch. Use larger batches instead."
        )


def _build_optimizer(optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]) -> None:
    if not optimizer.built:
        with explain_optimizer(optimizer):
            optimizer.build(variables)
    elif list(map(id, optimizer._trainable_variables)) != list(map(id, variables)):
        raise ValueError(
            f"configure_optimizers returned {_a(type(optimizer).__name__)} that was built for different variables: "
            "those of another module, or earlier ones of this module. Create a new one in configure_optimizers for "
            "each fit."
        )


def _a(name: str) -> str:
    return f"an {name}" if name[0] in "AEIOU" else f"a {name}"


def build_from_specs(module: Any, specs: Mapping[str, Any]) -> None:
    """Let Keras build the layers whose shapes depend on a batch, from the ``specs`` of another `BuiltModule`."""
    built = BuiltModule(module, [])
    for stage, spec in specs.items():
        _run_symbolically(built, stage, specs_from_json(spec))


def build_stage(built: BuiltModule, stage: str, batch: Any) -> None:
    """Prepare a built module for one more stage (a test after a fit, for example)."""
    result = _run_symbolically(built, stage, batch)
    _find_parts(built)
    _check_used(built, result)


def _find_parts(built: BuiltModule) -> None:
    built.variables = named_variables(built.module)
    kind = keras.layers.BatchNormalization
    built.normalizations = [layer for layer in all_layers(built.module) if isinstance(layer, kind)]


def _warn_of_trained_state(built: BuiltModule, result: StepResult) -> None:
    """Variables are trainable by default: warn if the step assigns one; layers (SpectralNormalization) may do so."""
    of_layers = {id(variable) for layer in keras_layers(built.module) for variable in layer.variables}
    assigned = {id(variable) for variable, _ in result.updates} - of_layers
    for name, variable in built.trainable.items():
        if id(variable) in assigned:
            warnings.warn(
                f"training_step assigns self.{name}, which the optimizer trains too. Create it with "
                "keras.Variable(..., trainable=False), unless both are intended.",
                stacklevel=2,
            )


def _check_used(built: BuiltModule, result: StepResult) -> None:
    known = built.known
    for variable in result.used:
        check_known(variable, known)


def _run_symbolically(built: BuiltModule, stage: str, batch: Any) -> StepResult:
    """Run the stage's step on shapes, and record what it logs and which variables it uses."""
    results: list[StepResult] = []
    errors: list[Exception] = []

    def step(batch: Any, batch_idx: Any) -> Any:
        try:
            result = built.run(stage, (batch, batch_idx), on_shapes=True)
            if stage == "train":
                result.logs.extend(_logs_of_gradients(built.module))
        except Exception as error:
            errors.append(error)
            raise
        results.append(result)
        return batch_idx

    specs = built.first_batches[stage] = batch_specs(stage, batch)
    try:
        # As in a functional model: Keras infers shapes, and layers are built on the way.
        compute_output_spec(step, specs, keras.KerasTensor((), "int32"))
    except Exception as error:
        _forget_uninitialized_variables()
        # The step's own error: Keras may fail a second time, when it initialises variables or, under torch, tries the
        # step in another way.
        raise errors[-1] if errors else error from None
    logs = results[-1].logs
    _check_names(built, stage, [*logs.entries, *logs.metrics])
    built.entries[stage], built.metrics[stage] = logs.entries, logs.metrics
    updated = built.assigned[stage] = {id(variable) for variable, _ in results[-1].updates}
    built.unlogged[stage] = {
        name: value
        for name, value in vars(built.module).items()
        if isinstance(value, keras.metrics.Metric)
        and not any(value is metric for metric in logs.metrics.values())
        and not updated.isdisjoint(map(id, value.variables))
    }
    return results[-1]


def _forget_uninitialized_variables() -> None:
    """Keep Keras from trying again, at the end of every later scope, to initialise variables whose initializer failed.

    It would fail again, whatever module is trained then. (After Ctrl-C, trying again is right.)
    """
    from keras.src.backend.common import global_state

    global_state.set_global_attribute("uninitialized_variables", [])


def _check_names(built: BuiltModule, stage: str, entries: Sequence[LogEntry]) -> None:
    name, _, source = stage.partition("/")
    others = [other for other in built.entries if source and other != stage and other.partition("/")[0] == name]
    taken = {entry.name for other in others for entry in (*built.entries[other], *built.metrics[other])}
    for entry in entries:
        if entry.name in taken:
            raise ValueError(
                f"log({entry.name!r}, add_dataloader_idx=False) uses the same name for several {name} sets. "
                "Give each its own name, or leave add_dataloader_idx=True."
            )


def _logs_of_gradients(module: Any) -> StepLogs:
    """What ``configure_gradients`` logs."""
    from keras import ops

    trainable = {name: v for name, v in named_variables(module).items() if v.trainable and not is_replaced(v)}
    with StepLogs(training=True) as logs, keras.StatelessScope():
        configured(module, {name: ops.zeros(v.shape, v.dtype) for name, v in trainable.items()})
    return logs
