"""Batch normalisation in one operation."""

from __future__ import annotations

from typing import Any

from kgenre.kernels.keras_only import leave_to_keras_unless


def batch_normalization(inputs: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """Normalise each channel by this batch's mean and variance, as ``keras.layers.BatchNormalization`` in training.

    Keras 3 computes it in a dozen TensorFlow operations, forward and backward, each of which reads and writes the whole
    batch; oneDNN has one for each direction, which also takes a ReLU that follows.

    Args:
        inputs: float32 (B, H, W, C).
        gamma: scale, float32 (C,).
        beta: offset, float32 (C,).
        epsilon: added to the variance.

    Returns:
        The normalised pictures, the mean (C,) and the variance (C,), which is the biased one, as in Keras.

    Raises:
        NotImplementedError: there is no faster kernel for this backend or device, or `keras_only` is active.
    """
    leave_to_keras_unless("tensorflow")
    import tensorflow as tf

    from kgenre.kernels.tensorflow_platform import require_own_operations

    require_own_operations()
    none = tf.zeros((0,))
    outputs, mean, unbiased, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=gamma, offset=beta, mean=none, variance=none, epsilon=epsilon, is_training=True
    )
    pixels = tf.cast(tf.size(inputs) / inputs.shape[-1], tf.float32)
    return outputs, mean, unbiased * (pixels - 1) / pixels
