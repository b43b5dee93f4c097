"""Keras's MaxPooling2D by the backend's fastest way."""

from __future__ import annotations

from typing import Any

import keras

from kgenre import kernels


@keras.saving.register_keras_serializable(package="kgenre")
class MaxPooling2D(keras.layers.MaxPooling2D):
    """Keras's layer with its arguments; under JAX windows that lie side by side are those of `kernels.max_pooling`.

    Input: float (B, H, W, C). Output: (B, H', W', C), the same numbers and gradients as Keras's, to the bit.

    Example:
        >>> tuple(MaxPooling2D(2)(np.ones((1, 4, 6, 3), "float32")).shape)
        (1, 2, 3, 3)
    """

    def call(self, inputs: Any) -> Any:
        """Map (B, H, W, C) to (B, H', W', C)."""
        side_by_side = self.strides == self.pool_size and self.padding == "valid"
        if not side_by_side or self.data_format != "channels_last":
            return super().call(inputs)
        try:
            return kernels.max_pooling(inputs, self.pool_size)
        except NotImplementedError:
            return super().call(inputs)
