"""Everything a step needs exists before the first trace: layers, metrics, optimizer slots, names, log entries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from kgenre.engines.named_variables import named_optimizer_variables, named_variables
from kgenre.engines.step_logs import LogEntry
from kgenre.engines.traced_step import StepResult, check_known, run_step

STEPS = {
    "train": "training_step",
    "validation": "validation_step",
    "test": "test_step",
    "predict": "predict_step",
}


@dataclass
class BuiltModule:
    """A module with its optimizers, built, its variables named and its steps' log entries known."""

    module: Any
    optimizers: Sequence[keras.optimizers.Optimizer]
    variables: dict[str, keras.Variable] = field(default_factory=dict)
    optimizer_variables: dict[str, keras.Variable] = field(default_factory=dict)
    entries: dict[str, list[LogEntry]] = field(default_factory=dict)
    metrics: dict[str, dict[LogEntry, Any]] = field(default_factory=dict)
    optimized: frozenset[int] = frozenset()  # ids of the variables that the optimizers were built with

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

    @property
    def known(self) -> set[int]:
        """Ids of the variables that a step may use."""
        return {id(variable) for variable in (*self.variables.values(), *self.optimizer_variables.values())}

    def step(self, stage: str) -> Callable[..., Any]:
        """The user's step of a stage."""
        return getattr(self.module, STEPS[stage])

    def run(self, stage: str, arguments: tuple[Any, ...], state_mapping: Any = None) -> StepResult:
        """One traced run of a stage's step."""
        return run_step(
            self.step(stage),
            arguments,
            module=self.module,
            training=stage == "train",
            known=self.known,
            state_mapping=state_mapping,
        )


def build_module(
    module: Any, optimizers: Sequence[keras.optimizers.Optimizer], batches: Mapping[str, Any]
) -> BuiltModule:
    """Run each stage's step once on shapes alone, then create what training needs.

    Nothing is computed and no variable changes: the step sees symbolic tensors of the batch's shapes and dtypes.

    Args:
        module: the user's module.
        optimizers: its optimizers; none for evaluation alone.
        batches: stage ("train", "validation", "test", "predict") -> one batch of it.

    Raises:
        StepError: the step does what cannot be compiled.
        ValueError: there is nothing to train.
    """
    built = BuiltModule(module, list(optimizers))
    used = [variable for stage, batch in batches.items() for variable in _run_symbolically(built, stage, batch)]
    built.variables = named_variables(module)
    trainable = built.trainable
    if optimizers and not trainable:
        raise ValueError(
            f"{type(module).__name__} has no trainable variables: keep its Keras model as an attribute "
            "(self.model = ...) and leave at least one layer trainable."
        )
    built.optimized = frozenset(map(id, trainable.values()))
    for position, optimizer in enumerate(built.optimizers):
        if not optimizer.built:
            optimizer.build(list(trainable.values()))
        built.optimizer_variables |= named_optimizer_variables(optimizer, trainable, f"optimizers.{position}")
    _check_used(built, used)
    return built


def build_stage(built: BuiltModule, stage: str, batch: Any) -> None:
    """Make a built module ready for one more stage (a test after a fit)."""
    used = _run_symbolically(built, stage, batch)
    built.variables = named_variables(built.module)
    _check_used(built, used)


def _check_used(built: BuiltModule, used: list[keras.Variable]) -> None:
    known = built.known
    for variable in used:
        check_known(variable, known)


class _OnShapes(keras.Operation):
    """Lets Keras infer shapes through any function: layers are built on the way, as in a functional model."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def call(self, *arguments: Any) -> Any:
        return self.function(*arguments)


def _run_symbolically(built: BuiltModule, stage: str, batch: Any) -> list[keras.Variable]:
    """Note what the stage's step logs; returns the variables that it uses."""
    results: list[StepResult] = []
    errors: list[Exception] = []

    def step(batch: Any, batch_idx: Any) -> Any:
        try:
            result = run_step(
                built.step(stage), (batch, batch_idx), module=built.module, training=stage == "train", known=None
            )
        except Exception as error:
            errors.append(error)
            raise
        results.append(result)
        return result.logs.stack()

    specs = keras.tree.map_structure(_spec, batch)
    try:
        _OnShapes(step).compute_output_spec(specs, keras.KerasTensor((), "int32"))
    except Exception as error:
        # The user's error, without the words that Keras puts around it about an operation that is not the user's.
        raise errors[-1] if errors else error from None
    built.entries[stage] = results[-1].logs.entries
    built.metrics[stage] = results[-1].logs.metrics
    return results[-1].used


def _spec(array: Any) -> keras.KerasTensor:
    array = array if hasattr(array, "dtype") else np.asarray(array)
    dtype = keras.backend.standardize_dtype(array.dtype)
    return keras.KerasTensor(array.shape, "float32" if dtype == "float64" else dtype)
