"""The part of `WeightAveraging` in the compiled step.

It is a module of its own as its types are Keras's: the command line resolves those of the callbacks before it imports
Keras.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

_NEVER = 2**31 - 1  # updates: the most that an int32, which counts them in the step, can hold


class AveragedWeights:
    """The average of a module's weights: see `kgenre.engines.step_part.StepPart`."""

    prefix = "weight_averaging"
    averaged: dict[str, keras.Variable]  # the module's variables
    averages: dict[str, keras.Variable]  # their averages, float32, by the same names
    updates: keras.Variable  # optimizer updates so far
    count: keras.Variable  # updates of the average so far
    active: keras.Variable  # 1 from the epoch ``update_starting_at_epoch`` on

    def __init__(self, decay: float | None, every: int, first: int) -> None:
        self.decay = decay
        self.every, self.first = min(every, _NEVER), min(first, _NEVER)
        self.is_exchanged = False  # the module holds the average, and `averages` the training weights
        self.trained: dict[str, Any] | None = None  # the training weights, while the average is validated

    def build(self, module: Any, variables: Mapping[str, keras.Variable]) -> dict[str, keras.Variable]:
        """Create the averages and their counters; return them by the names that they have in a checkpoint."""
        import keras

        from kgenre.engines.named_variables import keras_layers

        self.is_exchanged = False
        weights = {id(weight) for layer in keras_layers(module) for weight in layer.weights}
        self.averaged = {
            name: variable
            for name, variable in variables.items()
            if (variable.trainable or id(variable) in weights) and "float" in variable.dtype
        }
        self.averages = {
            # A copy: under torch, a variable created from another's tensor would share its memory.
            name: keras.Variable(keras.ops.copy(keras.ops.cast(variable, "float32")), dtype="float32", trainable=False)
            for name, variable in self.averaged.items()
        }
        self.updates, self.count, self.active = (keras.Variable(0, dtype="int32", trainable=False) for _ in range(3))
        counts = {"updates": self.updates, "count": self.count, "active": self.active}
        return {f"{self.prefix}.{name}": variable for name, variable in counts.items()} | {
            f"{self.prefix}.average.{name}": variable for name, variable in self.averages.items()
        }

    def after_update(self, gradients: Mapping[str, Any]) -> None:
        """Update the average, if it is due; traced."""
        from keras import ops

        updates = ops.convert_to_tensor(self.updates) + 1
        self.updates.assign(updates)
        due = ops.logical_and(updates >= self.first, updates % self.every == 0)
        due = ops.logical_and(due, ops.convert_to_tensor(self.active) > 0)
        count = ops.convert_to_tensor(self.count) + 1
        self.count.assign(ops.where(due, count, count - 1))
        share = 1.0 / ops.cast(count, "float32") if self.decay is None else 1.0 - self.decay
        share = ops.where(count == 1, 1.0, share)
        for name, average in self.averages.items():
            before, weight = ops.convert_to_tensor(average), ops.cast(self.averaged[name], "float32")
            average.assign(ops.where(due, before * (1.0 - share) + weight * share, before))

    def exchange(self, arrays: dict[str, Any]) -> None:
        """Exchange weights and averages in the arrays of a checkpoint, so that it holds the averages as weights."""
        if self.is_exchanged or arrays[f"{self.prefix}.count"] == 0:
            return
        for name in self.averaged:
            other = f"{self.prefix}.average.{name}"
            arrays[name], arrays[other] = arrays[other], (self.trained or arrays)[name]
