"""Everything a step needs exists before the first trace: layers, metrics, optimizer slots, names, log entries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Number
from types import CodeType
from typing import Any

import keras
import numpy as np

from kgenre.engines.batch_specs import batch_specs, specs_as_json, specs_from_json
from kgenre.engines.loss_scale import LossScale
from kgenre.engines.named_variables import named_optimizer_variables, named_variables
from kgenre.engines.optimizer_groups import optimizer_groups
from kgenre.engines.python_in_steps import ReadValues
from kgenre.engines.step_error import StepError
from kgenre.engines.step_logs import LogEntry, StepLogs, weight_of
from kgenre.engines.step_options import StepOptions
from kgenre.engines.step_warnings import StepWarnings
from kgenre.engines.traced_step import StepResult, check_known, run_step
from kgenre.engines.weight_update import StepPart, configured
from kgenre.engines.written_code import code_of

STEPS = {
    "train": "training_step",
    "validation": "validation_step",
    "test": "test_step",
    "predict": "predict_step",
}
_COMPILED = (*STEPS.values(), "configure_gradients")


@dataclass
class BuiltModule:
    """A module with its optimizers, built, its variables named and its steps' log entries known.

    A stage is "train", "validation", "test" or "predict"; of several sources "validation/0", "validation/1", ...
    """

    module: Any
    optimizers: Sequence[keras.optimizers.Optimizer]
    groups: Sequence[Mapping[str, keras.Variable]] = ()  # for each optimizer its variables by name
    loss_scale: LossScale | None = None
    parts: Sequence[StepPart] = ()
    variables: dict[str, keras.Variable] = field(default_factory=dict)
    optimizer_variables: dict[str, keras.Variable] = field(default_factory=dict)
    entries: dict[str, list[LogEntry]] = field(default_factory=dict)
    metrics: dict[str, dict[LogEntry, Any]] = field(default_factory=dict)
    first_batches: dict[str, Any] = field(default_factory=dict)  # stage -> a batch, KerasTensors in place of its arrays
    read: ReadValues = field(default_factory=ReadValues)
    optimized: frozenset[int] = frozenset()  # ids of the variables that the optimizers were built with
    warnings: StepWarnings = field(default_factory=StepWarnings)
    written: list[CodeType] = field(init=False)  # what the compiled steps were made of

    def __post_init__(self) -> None:
        self.written = code_of(self.module, _COMPILED)

    @property
    def specs(self) -> dict[str, Any]:
        """Shapes and dtypes of each stage's batch, as JSON values."""
        return {stage: specs_as_json(batch) for stage, batch in self.first_batches.items()}

    @property
    def trainable(self) -> dict[str, keras.Variable]:
        """The variables that get gradients now (a hook may freeze some)."""
        return {name: variable for name, variable in self.variables.items() if variable.trainable}

    def check_optimized(self) -> None:
        """Refuse to train a variable that the optimizers have no state for.

        Raises:
            ValueError: a layer that was frozen when training began was unfrozen.
        """
        new = [name for name, v in self.trainable.items() if id(v) not in self.optimized]
        if self.optimizers and new:
            raise ValueError(
                f"{new[0]} was frozen when training began, so the optimizer has no state for it, and now it is "
                "trainable. To unfreeze a layer later, leave it trainable and freeze it in on_fit_start."
            )

    def refuse_unreached(self) -> None:
        """The loss of a training step gave no gradient to any variable.

        Raises:
            StepError: there are some that it should reach.
        """
        if self.trainable:
            raise StepError(
                "training_step returned a loss from which no gradient reaches a trainable variable of "
                f"{type(self.module).__name__}, so nothing would be trained. Look in the step for "
                "keras.ops.stop_gradient, and for operations without a gradient (argmax, round, comparisons, casts to "
                "integers) between the model's outputs and the loss."
            )

    @property
    def known(self) -> set[int]:
        """Ids of the variables that a step may use."""
        return {id(variable) for variable in (*self.variables.values(), *self.optimizer_variables.values())}

    def step(self, stage: str) -> Callable[..., Any]:
        """The user's step of a stage."""
        return getattr(self.module, STEPS[stage.partition("/")[0]])

    def run(self, stage: str, arguments: tuple[Any, ...], state_mapping: Any = None) -> StepResult:
        """One traced run of a stage's step on (batch, batch index)."""
        self.read.note(self.module, self.step(stage))
        return _run(self, stage, arguments, self.known, state_mapping)

    def stack(self, stage: str, recorded: Mapping[str, tuple[Any, Any]]) -> Any:
        """What a traced step logged: float32 (2, n), values and weights, in the order of ``entries[stage]``.

        What is not in ``recorded`` (a step that returned early) has the weight 0.

        Raises:
            StepError: a name that was not logged for the first batch.
        """
        from keras import ops

        entries = self.entries[stage]
        new = set(recorded) - {entry.name for entry in entries}
        if new:
            raise StepError(
                f"log({min(new)!r}) was not called for the first batch that was seen, and a compiled step cannot get "
                "more values later. Log it for every batch."
            )
        if not entries:
            return ops.zeros((2, 0), "float32")
        absent = (ops.zeros((), "float32"),) * 2
        values, weights = zip(*(recorded.get(entry.name, absent) for entry in entries), strict=True)
        return ops.stack([ops.stack(values), ops.stack(weights)])

    @property
    def is_current(self) -> bool:
        """Whether an evaluation's steps would be compiled to the same now.

        The module holds all the variables that it was built with, and what the steps call and read is as it was.
        """
        held = set(map(id, named_variables(self.module).values()))
        changed = [step for step, *_ in self.read.changed(self.module) if step != STEPS["train"]]
        same_code = self.written == code_of(self.module, _COMPILED)
        return held.issuperset(map(id, self.variables.values())) and same_code and not changed

    def named_gradients(self, totals: Iterable[np.ndarray], count: Any) -> dict[str, np.ndarray]:
        """What an incomplete group of batches has added up, for a checkpoint: see `Engine.epoch_state`."""
        named = zip(self.trainable, totals, strict=True)
        return {f"gradients.{name}": as_saved(total) for name, total in named} | {
            "gradients.count": np.array(count, "float32")
        }

    def saved_gradients(self, saved: Mapping[str, np.ndarray] | None) -> list[np.ndarray] | None:
        """Its arrays again, the count first; None: nothing was saved.

        Zeros, where they are not there or of other trainable variables: an engine that goes back to a checkpoint holds
        gradients that came after it.
        """
        if saved is None:
            return None
        names = ["gradients.count", *(f"gradients.{name}" for name in self.trainable)]
        if saved.keys() >= set(names):
            return [saved[name] for name in names]
        return [np.zeros(shape, "float32") for shape in ((), *(v.shape for v in self.trainable.values()))]


def build_module(
    module: Any,
    optimizers: Mapping[str, keras.optimizers.Optimizer],
    batches: Mapping[str, Any],
    options: StepOptions | None = None,
    parts: Sequence[StepPart] = (),
) -> BuiltModule:
    """Run each stage's step once on shapes alone, then create what training needs.

    Nothing is computed and no variable changes: the step sees symbolic tensors of the batch's shapes and dtypes.

    Args:
        module: the user's module.
        optimizers: its optimizers by the pattern of the names of their variables (see `optimizer_groups`); none for
            evaluation alone.
        batches: stage ("train", "validation", "test", "predict") -> one batch of it.
        options: of the training step.
        parts: what is compiled into each update.

    Raises:
        StepError: a step does what cannot be compiled, or gives a loss that trains nothing, or a batch holds what is
            no number.
        ValueError: there is nothing to train, or not by one optimizer each.
    """
    built = BuiltModule(module, list(optimizers.values()), parts=list(parts))
    results = {stage: _run_symbolically(built, stage, batch) for stage, batch in batches.items()}
    built.variables = named_variables(module)
    trainable = built.trainable
    if optimizers and not trainable:
        raise ValueError(
            f"{type(module).__name__} has no trainable variables: keep its Keras model as an attribute "
            "(self.model = ...) and leave at least one layer trainable."
        )
    built.optimized = frozenset(map(id, trainable.values()))
    frozen = [name for name in built.variables if name not in trainable]
    built.groups = optimizer_groups(optimizers, trainable, frozen) if optimizers else []
    for position, (optimizer, group) in enumerate(zip(built.optimizers, built.groups, strict=True)):
        _build_optimizer(optimizer, list(group.values()))
        built.optimizer_variables |= named_optimizer_variables(optimizer, group, f"optimizers.{position}")
    if options is not None and options.loss_scaling:
        built.loss_scale = LossScale()
        built.optimizer_variables |= built.loss_scale.variables
    for part in built.parts:
        built.optimizer_variables |= part.build(module, built.variables)
    for result in results.values():
        _check_used(built, result)
    if optimizers and "train" in results:
        _check_loss(built, results["train"])
    return built


def _build_optimizer(optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]) -> None:
    if not optimizer.built:
        optimizer.build(variables)
    elif list(map(id, optimizer._trainable_variables)) != list(map(id, variables)):
        raise ValueError(
            f"configure_optimizers returned {_a(type(optimizer).__name__)} that was made for other variables: another "
            "module's, or those that this one had before. Create it in configure_optimizers, anew for each fit."
        )


def _a(name: str) -> str:
    return f"an {name}" if name[0] in "AEIOU" else f"a {name}"


def build_from_specs(module: Any, specs: Mapping[str, Any]) -> None:
    """Let Keras build the layers that wait for a first batch, from the ``specs`` of another `BuiltModule`."""
    built = BuiltModule(module, [])
    for stage, spec in specs.items():
        _run_symbolically(built, stage, specs_from_json(spec))


def build_stage(built: BuiltModule, stage: str, batch: Any) -> None:
    """Make a built module ready for one more stage (a test after a fit)."""
    result = _run_symbolically(built, stage, batch)
    built.variables = named_variables(built.module)
    _check_used(built, result)


def _check_loss(built: BuiltModule, result: StepResult) -> None:
    if result.loss is not None and built.optimized.isdisjoint(map(id, result.used)):
        raise StepError(
            "training_step returned a loss that depends on no trainable variable of "
            f"{type(built.module).__name__}, so nothing would be trained. Compute it from the model's outputs."
        )


def _check_used(built: BuiltModule, result: StepResult) -> None:
    known = built.known
    for variable in result.used:
        check_known(variable, known)


def as_saved(array: Any) -> np.ndarray:
    """A variable's value for a checkpoint: NumPy has no bfloat16, and float32 holds all of its numbers."""
    array = np.asarray(array)
    return array.astype("float32") if array.dtype.name == "bfloat16" else array


class _OnShapes(keras.Operation):
    """Lets Keras infer shapes through any function: layers are built on the way, as in a functional model."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def call(self, *arguments: Any) -> Any:
        return self.function(*arguments)


def _run(
    built: BuiltModule, stage: str, arguments: tuple[Any, ...], known: set[int] | None, state_mapping: Any = None
) -> StepResult:
    _, slash, source = stage.partition("/")
    with built.warnings.once(built.step(stage)):
        result = run_step(
            built.step(stage),
            (*arguments, int(source)) if slash else arguments,
            module=built.module,
            training=stage == "train",
            known=known,
            state_mapping=state_mapping,
            suffix=f"/dataloader_idx_{source}" if slash else "",
            weight=weight_of(arguments[0], built.first_batches[stage]),
        )
    if result.loss is not None and isinstance(result.outputs["loss"], Number | np.ndarray):
        raise StepError(
            f"training_step returned {result.outputs['loss']!r} as loss, a number that no gradient goes through, so "
            "nothing would be trained. Return the tensor that keras.ops computes from the model's outputs."
        )
    return result


def _run_symbolically(built: BuiltModule, stage: str, batch: Any) -> StepResult:
    """Note what the stage's step logs, and which variables it uses."""
    results: list[StepResult] = []
    errors: list[Exception] = []

    def step(batch: Any, batch_idx: Any) -> Any:
        try:
            result = _run(built, stage, (batch, batch_idx), known=None)
            if stage == "train":
                result.logs.extend(_logs_of_gradients(built.module))
        except Exception as error:
            errors.append(error)
            raise
        results.append(result)
        return batch_idx

    specs = built.first_batches[stage] = batch_specs(stage, batch)
    try:
        _OnShapes(step).compute_output_spec(specs, keras.KerasTensor((), "int32"))
    except Exception as error:
        # The user's error, without the words that Keras puts around it about an operation that is not the user's.
        raise errors[-1] if errors else error from None
    logs = results[-1].logs
    _check_names(built, stage, [*logs.entries, *logs.metrics])
    built.entries[stage], built.metrics[stage] = logs.entries, logs.metrics
    return results[-1]


def _check_names(built: BuiltModule, stage: str, entries: Sequence[LogEntry]) -> None:
    name, _, source = stage.partition("/")
    others = [other for other in built.entries if source and other != stage and other.partition("/")[0] == name]
    taken = {entry.name for other in others for entry in (*built.entries[other], *built.metrics[other])}
    for entry in entries:
        if entry.name in taken:
            raise ValueError(
                f"log({entry.name!r}, add_dataloader_idx=False) has this name for several {name} sets. "
                "Give each its own, or leave add_dataloader_idx=True."
            )


def _logs_of_gradients(module: Any) -> StepLogs:
    """What ``configure_gradients`` logs."""
    from keras import ops

    trainable = {name: v for name, v in named_variables(module).items() if v.trainable}
    with StepLogs(training=True) as logs, keras.StatelessScope():
        configured(module, {name: ops.zeros(v.shape, v.dtype) for name, v in trainable.items()})
    return logs
