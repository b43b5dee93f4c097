"""Keras's Dropout by the backend's fastest way."""

from __future__ import annotations

from typing import Any

import keras

from kgenre import kernels


@keras.saving.register_keras_serializable(package="kgenre")
class Dropout(keras.layers.Dropout):
    """Keras's layer with its arguments; under JAX the random numbers are those of `kernels.dropout`.

    Input and output: float, of any shape.

    Example:
        >>> Dropout(0.5, seed=0)(np.ones((2, 3), "float32"), training=True)
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Drop, if ``training``."""
        if not training or not 0 < self.rate < 1 or self.noise_shape is not None:
            return super().call(inputs, training=training)
        try:
            return kernels.dropout(inputs, self.rate, self.seed_generator)
        except NotImplementedError:
            return super().call(inputs, training=training)
