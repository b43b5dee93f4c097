"""A layer that pools the vectors of a text's words, without padding, into one vector for the text."""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kgenre")
class MaskedPooling(keras.layers.Layer):
    """The maximum, mean or scaled sum of a sequence over its unmasked positions, one number per channel.

    ``scaled_sum`` is the sum divided by the square root of the number of positions: between a mean, which loses how
    often something is said, and a sum, which grows with the text. A fully masked sequence yields zeros.

    Input: float (B, T, C) with a mask (B, T), which an ``Embedding(mask_zero=True)`` before it provides. Output: float
    (B, C).

    Args:
        how: "max", "mean" or "scaled_sum".
        **kwargs: ``name`` and ``dtype``, as for every Keras layer.

    Raises:
        ValueError: ``how`` is something else, or the input has no mask.

    Example:
        >>> MaskedPooling("mean")(np.array([[[1.0], [3.0], [9.0]]]), mask=np.array([[True, True, False]]))
    """

    def __init__(self, how: Literal["max", "mean", "scaled_sum"], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if how not in ("max", "mean", "scaled_sum"):
            raise ValueError(f"how must be 'max', 'mean' or 'scaled_sum'. Received: how={how!r}")
        self.how = how
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Map (B, T, C) to (B, C)."""
        if mask is None:
            raise ValueError("MaskedPooling needs a mask: put an Embedding(mask_zero=True) before it, or pass mask=...")
        real = ops.cast(mask, inputs.dtype)[:, :, None]  # (B, T, 1)
        count = ops.sum(real, axis=1)  # (B, 1)
        if self.how == "max":
            lowest = ops.where(real > 0, inputs, ops.full_like(inputs, -1e4))  # -1e4 fits float16
            return ops.where(count > 0, ops.max(lowest, axis=1), ops.zeros_like(count))
        total = ops.sum(inputs * real, axis=1)
        count = ops.maximum(count, 1)
        return total / (count if self.how == "mean" else ops.sqrt(count))

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Return None: no positions are left to mask."""
        return

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of ``__init__``."""
        return super().get_config() | {"how": self.how}
