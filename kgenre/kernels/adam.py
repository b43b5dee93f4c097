"""Adam in one operation per variable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def adam_step(optimizer: Any, gradients: Sequence[Any], variables: Sequence[Any], learning_rate: Any) -> None:
    """Update variables and their moments as ``keras.optimizers.Adam``, under TensorFlow: its ``_backend_update_step``.

    Keras computes the same formula in a dozen operations per variable, which take a twentieth of a CNN's step on a CPU.

    Args:
        optimizer: a built ``keras.optimizers.Adam`` or ``AdamW``, without ``amsgrad``.
        gradients: dense tensors like ``variables``.
        variables: those that the optimizer was built for, or some of them; if not float32, they are left to Keras.
        learning_rate: a scalar.
    """
    import keras
    import tensorflow as tf

    step = tf.cast(optimizer.iterations.value + 1, tf.float32)
    same = {
        "beta1_power": optimizer.beta_1**step,
        "beta2_power": optimizer.beta_2**step,
        "lr": tf.cast(learning_rate, tf.float32),
        "beta1": optimizer.beta_1,
        "beta2": optimizer.beta_2,
        "epsilon": optimizer.epsilon,
    }
    for gradient, variable in zip(gradients, variables, strict=True):
        value = variable.value if isinstance(variable, keras.Variable) else variable
        if value.dtype != tf.float32:
            optimizer.update_step(gradient, value, learning_rate)
            continue
        index = optimizer._get_variable_index(variable)
        momentum, velocity = optimizer._momentums[index].value, optimizer._velocities[index].value
        tf.raw_ops.ResourceApplyAdam(
            var=value.handle, m=momentum.handle, v=velocity.handle, grad=tf.cast(gradient, tf.float32), **same
        )
