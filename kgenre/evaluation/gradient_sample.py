"""A sample of the gradients that training computes, on every backend."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kgenre.engines.step_part import ONLY_SHOWN

if TYPE_CHECKING:
    import keras

_ENTRIES = 4096  # of each weight: enough for a histogram, and small compared with the weights


class GradientSample:
    """Keeps evenly spaced entries of each weight's latest gradient: see `kgenre.engines.step_part.StepPart`.

    They are as passed to the optimizers: from the last batch (or group of accumulated batches), unscaled and clipped.
    """

    prefix = ONLY_SHOWN
    samples: dict[str, keras.Variable]  # by the name of the weight, float32 (at most 4,096,)

    def build(self, module: Any, variables: Mapping[str, keras.Variable]) -> dict[str, keras.Variable]:
        """Create a variable for each weight's entries."""
        import keras

        self.samples = {
            name: keras.Variable(keras.ops.zeros(min(math.prod(v.shape), _ENTRIES)), trainable=False)
            for name, v in variables.items()
            if v.trainable
        }
        return {f"{self.prefix}{name}": sample for name, sample in self.samples.items()}

    def after_update(self, gradients: Mapping[str, Any]) -> None:
        """Store the entries."""
        from keras import ops

        for name, gradient in gradients.items():  # none for weights that are frozen now
            flat, kept = ops.reshape(gradient, (-1,)), self.samples[name].shape[0]
            self.samples[name].assign(ops.cast(flat[:: flat.shape[0] // kept][:kept], "float32"))

    def exchange(self, arrays: dict[str, Any]) -> None:
        """Nothing to do: a checkpoint keeps the entries as they are."""
