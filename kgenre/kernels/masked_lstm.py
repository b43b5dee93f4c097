"""A masked bidirectional LSTM, computed by the fastest implementation for the backend."""

from __future__ import annotations

from typing import Any, NamedTuple

from kgenre.kernels.keras_only import leave_to_keras_unless


class Direction(NamedTuple):
    """Weights and dropout of one direction, in Keras's layout: gates in the order input, forget, cell, output.

    Args:
        kernel: (D, 4H).
        recurrent_kernel: (H, 4H).
        bias: (4H,).
        input_dropout: factors on the inputs, 0 or 1 / (1 - rate), the same at each step of a sequence: (B, D), with
            ``recurrent_dropout`` (4, B, D), separate ones for each gate; or None.
        recurrent_dropout: factors on the state, (4, B, H), or None.
    """

    kernel: Any
    recurrent_kernel: Any
    bias: Any
    input_dropout: Any = None
    recurrent_dropout: Any = None


def masked_lstm(
    inputs: Any, mask: Any, forward: Direction, backward: Direction
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Run an LSTM over each sequence in both directions, skipping the steps where ``mask`` is false.

    The result is that of ``keras.layers.Bidirectional(LSTM(..., return_sequences=True))`` with tanh, sigmoid and zero
    initial states, gradients included. The implementation depends on the backend:

    =========== ====== ==================================== ======================================
    backend     device with recurrent dropout               without
    =========== ====== ==================================== ======================================
    JAX         GPU    a loop with few kernels per step     the same loop
    JAX         CPU    a loop that saves few arrays         the same loop
    TensorFlow  GPU    a loop, compiled by XLA              Keras's own, which uses cuDNN
    TensorFlow  CPU    the same loop                        the same loop
    others             Keras's own                          Keras's own
    =========== ====== ==================================== ======================================

    Args:
        inputs: float (B, T, D).
        mask: bool (B, T), or None for all true.
        forward: the direction from the first step to the last.
        backward: the other one.

    Returns:
        The states after each step, ((B, T, H), (B, T, H)), zero where ``mask`` is false, and the last states in each
        direction, ((B, H), (B, H)); of the dtype of ``inputs``.

    Raises:
        NotImplementedError: there is no faster kernel for this backend, device, dtype or shape of the mask, or
            `keras_only` is active.
    """
    leave_to_keras_unless("jax", "tensorflow")
    import keras

    if (dtype := keras.backend.standardize_dtype(inputs.dtype)) not in ("float32", "bfloat16", "float16"):
        raise NotImplementedError(dtype)
    if mask is not None:
        if len(mask.shape) != 2:
            raise NotImplementedError(f"a mask of shape {tuple(mask.shape)}")
        mask = keras.ops.cast(mask, "bool")
    if keras.backend.backend() == "jax":
        from kgenre.kernels.masked_lstm_jax import masked_lstm as compute
    else:
        from kgenre.kernels.masked_lstm_tensorflow import masked_lstm as compute
    return compute(inputs, mask, (forward, backward))
