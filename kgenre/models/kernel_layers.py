"""Keras layers computed by `kgenre.kernels` where it has a faster implementation, and by Keras elsewhere."""

from __future__ import annotations

from typing import Any

import keras

from kgenre import kernels


@keras.saving.register_keras_serializable(package="kgenre")
class Conv2D(keras.layers.Conv2D):
    """Keras's layer with the same arguments; on a CPU `kernels.convolution` (JAX) and `add_bias` (TensorFlow) compute.

    Input: float (B, H, W, C). Output: (B, H', W', filters), the same values as Keras's.

    Example:
        >>> tuple(Conv2D(8, 3)(np.ones((1, 6, 6, 3), "float32")).shape)
        (1, 4, 4, 8)
    """

    def call(self, inputs: Any) -> Any:
        """Map (B, H, W, C) to (B, H', W', filters)."""
        if not self.use_bias or self.data_format != "channels_last":
            return super().call(inputs)
        outputs = self.convolution_op(inputs, self.kernel)
        try:
            outputs = kernels.add_bias(outputs, self.bias)
        except NotImplementedError:
            outputs = keras.ops.add(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve (B, H, W, C) with (h, w, C, filters)."""
        if self.data_format != "channels_last" or self.groups != 1 or self.dilation_rate != (1, 1):
            return super().convolution_op(inputs, kernel)
        try:
            return kernels.convolution(inputs, kernel, self.strides, self.padding)
        except NotImplementedError:
            return super().convolution_op(inputs, kernel)


@keras.saving.register_keras_serializable(package="kgenre")
class Dropout(keras.layers.Dropout):
    """Keras's layer with the same arguments; the random numbers are those of `kernels.dropout`.

    Input and output: float, of any shape.

    Example:
        >>> Dropout(0.5, seed=0)(np.ones((2, 3), "float32"), training=True)
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Apply dropout if ``training``."""
        if not training or not 0 < self.rate < 1 or self.noise_shape is not None:
            return super().call(inputs, training=training)
        try:
            return kernels.dropout(inputs, self.rate, self.seed_generator)
        except NotImplementedError:
            return super().call(inputs, training=training)


@keras.saving.register_keras_serializable(package="kgenre")
class MaxPooling2D(keras.layers.MaxPooling2D):
    """Keras's layer with the same arguments; under JAX `kernels.max_pooling` computes non-overlapping windows.

    Input: float (B, H, W, C). Output: (B, H', W', C), the same values and gradients as Keras's, to the bit.

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


@keras.saving.register_keras_serializable(package="kgenre")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer with the same arguments; under TensorFlow on a CPU `kernels.batch_normalization` computes.

    Input and output: float (B, H, W, C); other shapes are left to Keras.

    Example:
        >>> BatchNormalization()(np.ones((2, 4, 4, 3), "float32"), training=True)
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise by the batch's statistics if ``training``, else by the moving ones."""
        is_usual = self.scale and self.center and self.axis in (-1, 3) and not (self.synchronized or self.renorm)
        is_usual = is_usual and self.compute_dtype != "float64" and len(inputs.shape) == 4
        if not (training and self.trainable and is_usual and mask is None):
            return super().call(inputs, training=training, mask=mask)
        try:
            # Squares overflow in half precision, which the weights may have too (bf16-true).
            pictures, gamma, beta = (keras.ops.cast(each, "float32") for each in (inputs, self.gamma, self.beta))
            outputs, mean, variance = kernels.batch_normalization(pictures, gamma, beta, self.epsilon)
        except NotImplementedError:
            return super().call(inputs, training=training, mask=mask)
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(keras.ops.cast(moving, "float32") * self.momentum + value * (1 - self.momentum))
        return keras.ops.cast(outputs, self.compute_dtype)
