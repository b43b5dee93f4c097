"""Keras's Conv2D by the backend's fastest way."""

from __future__ import annotations

from typing import Any

import keras

from kgenre import kernels


@keras.saving.register_keras_serializable(package="kgenre")
class Conv2D(keras.layers.Conv2D):
    """Keras's layer with its arguments; under JAX on a CPU its kernel's gradient is that of `kernels.convolution`.

    Input: float (B, H, W, C). Output: (B, H', W', filters), the same numbers as Keras's.

    Example:
        >>> tuple(Conv2D(8, 3)(np.ones((1, 6, 6, 3), "float32")).shape)
        (1, 4, 4, 8)
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve (B, H, W, C) with (h, w, C, filters)."""
        if self.data_format != "channels_last" or self.groups != 1 or self.dilation_rate != (1, 1):
            return super().convolution_op(inputs, kernel)
        try:
            return kernels.convolution(inputs, kernel, self.strides, self.padding)
        except NotImplementedError:
            return super().convolution_op(inputs, kernel)
