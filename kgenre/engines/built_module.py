"""What an engine knows about a built module: its variables by name, its steps, and what these log."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from kgenre.engines.batch_specs import specs_as_json
from kgenre.engines.loss_scale import LossScale
from kgenre.engines.named_variables import named_variables
from kgenre.engines.python_in_steps import ReadValues
from kgenre.engines.step_error import StepError
from kgenre.engines.step_logs import LogEntry, weight_of
from kgenre.engines.step_part import StepPart
from kgenre.engines.step_warnings import StepWarnings
from kgenre.engines.traced_step import StepResult, run_step

STEPS = {
    "train": "training_step",
    "validation": "validation_step",
    "test": "test_step",
    "predict": "predict_step",
}

Division = tuple[bool, ...]  # of the variables and layers, into trainable and others; a new variable makes it longer
# Engines keep the steps compiled for so many: hooks may alternate between two networks by freezing the other one.
KEPT_DIVISIONS = 4
MANY_SHAPES = 16
_log = logging.getLogger("kgenre")


@dataclass
class BuiltModule:
    """A built module and its optimizers, with their variables by name and the log entries of each step.

    A stage is "train", "validation", "test" or "predict"; with several sources "validation/0", "validation/1", ...
    """

    module: Any
    optimizers: Sequence[keras.optimizers.Optimizer]
    groups: Sequence[Mapping[str, keras.Variable]] = ()  # each optimizer's variables by name
    loss_scale: LossScale | None = None
    parts: Sequence[StepPart] = ()
    variables: dict[str, keras.Variable] = field(default_factory=dict)
    normalizations: list[keras.layers.BatchNormalization] = field(default_factory=list)
    optimizer_variables: dict[str, keras.Variable] = field(default_factory=dict)
    entries: dict[str, list[LogEntry]] = field(default_factory=dict)
    metrics: dict[str, dict[LogEntry, Any]] = field(default_factory=dict)
    unlogged: dict[str, dict[str, Any]] = field(default_factory=dict)  # metrics updated but not logged, by attribute
    assigned: dict[str, set[int]] = field(default_factory=dict)  # ids of the variables that each stage's step assigns
    first_batches: dict[str, Any] = field(default_factory=dict)  # stage -> a batch, KerasTensors in place of its arrays
    shapes: dict[str, set[Any]] = field(default_factory=dict)  # of the batches that each stage's step was compiled for
    reads: dict[Division, ReadValues] = field(default_factory=dict)
    optimized: frozenset[int] = frozenset()  # ids of the variables that the optimizers were built with
    flags: Mapping[str, bool] = field(default_factory=dict)  # `trainable_flags` when it was built
    warnings: StepWarnings = field(default_factory=StepWarnings)
    said: set[str] = field(default_factory=set)  # what `warn_of_changes` has warned of

    @property
    def specs(self) -> dict[str, Any]:
        """Shapes and dtypes of each stage's batch, as JSON values."""
        return {stage: specs_as_json(batch) for stage, batch in self.first_batches.items()}

    @property
    def all_variables(self) -> dict[str, keras.Variable]:
        """The variables of the module and the optimizers: what `Engine.state_dict` has the values of."""
        return self.variables | self.optimizer_variables

    @property
    def trainable(self) -> dict[str, keras.Variable]:
        """The variables that currently receive gradients (a hook may freeze some)."""
        return {name: variable for name, variable in self.variables.items() if variable.trainable}

    @property
    def division(self) -> Division:
        """Which variables are trainable now, and which BatchNormalizations: frozen ones use their moving averages."""
        return tuple(part.trainable for part in (*self.variables.values(), *self.normalizations))

    @property
    def read(self) -> ReadValues:
        """What the steps compiled for this division have read."""
        return self.reads.setdefault(self.division, ReadValues())

    def check_optimized(self) -> None:
        """Check that the optimizers have state for every trainable variable.

        Raises:
            ValueError: a layer that was frozen when training began was unfrozen.
        """
        new = [name for name, v in self.trainable.items() if id(v) not in self.optimized]
        if self.optimizers and new:
            raise ValueError(
                f"{new[0]} was frozen when training began, so the optimizer has no state for it, but it is "
                "trainable now. To unfreeze a layer later, leave it trainable and freeze it in on_fit_start."
            )

    def raise_no_gradient(self) -> None:
        """Reject a training step whose loss gives no variable a gradient.

        Raises:
            StepError: always, unless the module has no trainable variables.
        """
        if self.trainable:
            raise StepError(
                "training_step returned a loss from which no gradient reaches a trainable variable of "
                f"{type(self.module).__name__}, so nothing would be trained. Compute it from the model's outputs with "
                "keras.ops, and look in the step for keras.ops.stop_gradient and for operations without a gradient "
                "(argmax, round, comparisons, casts to integers)."
            )

    @property
    def known(self) -> set[int]:
        """Ids of the variables that a step may use."""
        return set(map(id, self.all_variables.values()))

    def step(self, stage: str) -> Callable[..., Any]:
        """The user's step method for a stage."""
        return getattr(self.module, STEPS[stage.partition("/")[0]])

    def run(
        self, stage: str, arguments: tuple[Any, ...], state_mapping: Any = None, on_shapes: bool = False
    ) -> StepResult:
        """Run a stage's step on (batch, batch index); ``on_shapes``: symbolically, while layers are being built."""
        step = self.step(stage)
        if not on_shapes:
            self.read.record(self.module, step, self.optimizers if stage == "train" else ())
            self._note_shapes(stage, arguments[0])
        _, slash, source = stage.partition("/")
        with self.warnings.once(step):
            return run_step(
                step,
                (*arguments, int(source)) if slash else arguments,
                module=self.module,
                training=stage == "train",
                known=None if on_shapes else self.known,
                state_mapping=state_mapping,
                suffix=f"/dataloader_idx_{source}" if slash else "",
                weight=weight_of(arguments[0], self.first_batches[stage]),
            )

    def _note_shapes(self, stage: str, batch: Any) -> None:
        """Tell the user once if a step is compiled for many shapes of batches: in Lightning they would cost nothing."""
        if keras.backend.backend() == "torch" or len(seen := self.shapes.setdefault(stage, set())) == MANY_SHAPES:
            return
        shapes = tuple(tuple(leaf.shape) for leaf in keras.tree.flatten(batch))
        seen.add(shapes)
        if len(seen) == MANY_SHAPES:
            _log.warning(
                "%s was compiled for %d shapes of batches, which takes time for each; the newest: %s. Pad the batches "
                "to a few lengths.",
                *(STEPS[stage.partition("/")[0]], MANY_SHAPES, ", ".join(map(str, shapes))),
            )

    def scaled(self, loss: Any) -> Any:
        """The loss to differentiate."""
        return loss if self.loss_scale is None else self.loss_scale.scaled(loss)

    def stack(self, stage: str, recorded: Mapping[str, tuple[Any, Any]]) -> Any:
        """Stack what a step logged into float32 (2, n): values and weights, in the order of ``entries[stage]``.

        An entry missing from ``recorded`` (because the step returned early) gets weight 0.

        Raises:
            StepError: a name was not logged for the first batch.
        """
        from keras import ops

        entries = self.entries[stage]
        new = set(recorded) - {entry.name for entry in entries}
        if new:
            raise StepError(
                f"log({min(new)!r}) was not called for the first batch, and a compiled step cannot log additional "
                "values later. Log it for every batch."
            )
        if not entries:
            return ops.zeros((2, 0), "float32")
        absent = (ops.zeros((), "float32"),) * 2
        values, weights = zip(*(recorded.get(entry.name, absent) for entry in entries), strict=True)
        return ops.stack([ops.stack(values), ops.stack(weights)])

    @property
    def is_current(self) -> bool:
        """Whether the module still holds all variables that it was built with."""
        held = set(map(id, named_variables(self.module).values()))
        return held.issuperset(map(id, self.variables.values()))

    def forget_evaluations(self) -> None:
        """Forget what the stages other than training log; the shapes of their batches are kept for checkpoints."""
        for known in (self.entries, self.metrics, self.unlogged):
            for stage in known.keys() - {"train"}:
                del known[stage]

    def warn_of_changes(self) -> None:
        """Warn once of each change made by hooks that the compiled steps do not see."""
        self.read.warn_of_changes(self.module, self.optimizers, self.said)
        held = named_variables(self.module)
        new = next(
            (name for name, variable in self.variables.items() if held.get(name, variable) is not variable), None
        )
        if new is not None and new not in self.said:
            self.said.add(new)
            warnings.warn(
                f"self.{new} is a different variable now, but the fit keeps using the one that existed when it began. "
                "Create layers in setup or configure_model; in a hook, change the weights of the existing ones with "
                "set_weights or load_weights.",
                stacklevel=2,
            )

    @property
    def _gradient_names(self) -> list[str]:
        """The names of `named_gradients`, that of the count first."""
        count = "gradients" if "count" in self.trainable else "gradients.count"  # a variable of its own name
        return [count, *(f"gradients.{name}" for name in self.trainable)]

    def named_gradients(self, totals: Iterable[np.ndarray], count: Any) -> dict[str, np.ndarray]:
        """The gradients accumulated by an incomplete group of batches, for a checkpoint: see `Engine.epoch_state`."""
        arrays = [np.array(count, "float32"), *map(as_saved, totals)]
        return dict(zip(self._gradient_names, arrays, strict=True))

    def saved_gradients(self, saved: Mapping[str, np.ndarray] | None) -> list[np.ndarray] | None:
        """The arrays of `named_gradients`, the count first; None if ``saved`` is None.

        Zeros if ``saved`` has none or those of other trainable variables: an engine that returns to a checkpoint must
        drop the gradients that it accumulated later.
        """
        if saved is None:
            return None
        if saved.keys() >= set(self._gradient_names):
            return [saved[name] for name in self._gradient_names]
        return [np.zeros(shape, "float32") for shape in ((), *(v.shape for v in self.trainable.values()))]


def as_saved(array: Any) -> np.ndarray:
    """Convert an array for a file: NumPy has no bfloat16, and float32 represents all of its values."""
    array = np.asarray(array)
    return array.astype("float32") if array.dtype.name == "bfloat16" else array
