"""Dynamic loss scaling for float16, traced into the step.

Gradients below 6e-8 are zero in float16: the loss is multiplied by a scale before the backward pass and the gradients
are divided by it after. Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740; constants of PyTorch's GradScaler.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

INITIAL, LARGEST, GROWTH_INTERVAL = 2.0**16, 2.0**30, 2000


class LossScale:
    """The scale: doubled after ``GROWTH_INTERVAL`` finite updates in a row, halved when a gradient is not finite.

    Always a power of two, so that scaling rounds nothing.
    """

    def __init__(self) -> None:
        self.scale = keras.Variable(INITIAL, dtype="float32", trainable=False, name="scale")
        self.good_steps = keras.Variable(0, dtype="int32", trainable=False, name="good_steps")

    @property
    def variables(self) -> dict[str, keras.Variable]:
        """The state's variables, by their names in a checkpoint."""
        return {"loss_scale.scale": self.scale, "loss_scale.good_steps": self.good_steps}

    def scaled(self, loss: Any) -> Any:
        """The loss to differentiate."""
        return loss * self.scale

    def unscaled(self, gradients: Sequence[Any]) -> list[Any]:
        """The gradients of the unscaled loss."""
        inverse = 1.0 / ops.convert_to_tensor(self.scale)  # zero in float16 if the scale is large
        return [ops.cast(ops.multiply(gradient, inverse), gradient.dtype) for gradient in gradients]

    def update(self, finite: Any) -> None:
        """Adapt the scale, given whether all gradients of the step are finite (a boolean scalar)."""
        scale, good_steps = ops.convert_to_tensor(self.scale), ops.convert_to_tensor(self.good_steps) + 1
        grows = good_steps >= GROWTH_INTERVAL
        grown = ops.where(grows, ops.minimum(scale * 2.0, LARGEST), scale)
        self.scale.assign(ops.where(finite, grown, ops.maximum(scale / 2.0, 1.0)))
        self.good_steps.assign(ops.where(ops.logical_and(finite, ops.logical_not(grows)), good_steps, 0))


def all_finite(gradients: Sequence[Any]) -> Any:
    """Whether no gradient holds an infinity or NaN: a boolean scalar."""
    return ops.all(ops.stack([ops.all(ops.isfinite(gradient)) for gradient in gradients]))
