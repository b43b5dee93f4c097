"""The bias of a convolution, whose gradient TensorFlow computes slowly on a CPU."""

from __future__ import annotations

from typing import Any

from kgenre.kernels.keras_only import leave_to_keras_unless


def add_bias(convolved: Any, bias: Any) -> Any:
    """Add a number to each channel: ``convolved + bias``.

    TensorFlow merges the gradients of a bias and of the convolution's kernel into one operation of oneDNN, which takes
    1.1 (3x3 with many channels) to 4 times (1x1) as long as the two. Here the bias's is a product with ones, which
    cannot be merged; the forward pass is still one operation with the convolution and a ReLU.

    Args:
        convolved: float (..., channels).
        bias: (channels,), of the same dtype.

    Returns:
        A tensor like ``convolved``.

    Raises:
        NotImplementedError: there is no faster kernel for this backend or device, or `keras_only` is active.
    """
    leave_to_keras_unless("tensorflow")
    import tensorflow as tf

    from kgenre.kernels.tensorflow_gradient import with_gradient
    from kgenre.kernels.tensorflow_platform import require_own_operations

    require_own_operations()

    @with_gradient
    def added(convolved: Any, bias: Any) -> tuple[Any, Any]:
        def gradient(of_sum: Any) -> tuple[Any, Any]:
            rows = tf.reshape(of_sum, (-1, of_sum.shape[-1]))
            ones = tf.ones((1, tf.shape(rows)[0]), rows.dtype)
            return of_sum, tf.reshape(ones @ rows, (-1,))

        return tf.nn.bias_add(convolved, bias), gradient

    return added(convolved, bias)
