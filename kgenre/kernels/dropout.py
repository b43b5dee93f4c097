"""Dropout whose random numbers cost less than Keras's."""

from __future__ import annotations

import math
from typing import Any

from kgenre.kernels.keras_only import leave_to_keras_unless


def dropout(inputs: Any, rate: float, seed: Any) -> Any:
    """Set a random share of the elements to zero and scale the others up, as ``keras.random.dropout`` does.

    JAX: Threefry, a cipher, takes 100 operations per number: a tenth to a third of a CNN's training step on a CPU. Here
    each element's index is hashed twice (Wellons, 2018, "Prospecting for Hash Functions",
    https://nullprogram.com/blog/2018/07/31/), in 12 operations that XLA fuses into the surrounding loop; good enough
    for noise, not for secrets. The result is the same on every device, however many share the batch.

    TensorFlow, on a CPU and without XLA: Philox makes 32 random bits at a time, a tenth of such a step. Here they serve
    two elements, with the rate rounded to 1/65,536. An infinite element that is dropped becomes NaN.

    Args:
        inputs: float, any shape with fewer than 2**32 elements; under TensorFlow with an even last dimension.
        rate: share of the elements to set to zero, 0 <= rate < 1.
        seed: a ``keras.random.SeedGenerator``, which advances by one.

    Returns:
        A tensor like ``inputs``.

    Raises:
        NotImplementedError: there is no faster kernel for this backend, device or shape, or `keras_only` is active.
    """
    leave_to_keras_unless("jax", "tensorflow")
    import keras

    return (_jax_dropout if keras.backend.backend() == "jax" else _tensorflow_dropout)(inputs, rate, seed)


def _jax_dropout(inputs: Any, rate: float, seed: Any) -> Any:
    import jax

    first, second = jax.numpy.asarray(seed.next()).astype("uint32")
    # Keras's seeds are (seed, 0), (seed, 1), ...: hash them, so that consecutive seeds give unrelated masks.
    key = _hash(_hash(first) + second)
    other = _hash(key + first)
    place = jax.lax.iota("uint32", math.prod(inputs.shape)).reshape(inputs.shape)
    kept = _hash(_hash(place + key) ^ other) >= jax.numpy.uint32(round(rate * 2**32))
    return jax.lax.select(kept, inputs / (1 - rate), jax.numpy.zeros_like(inputs))


def _hash(numbers: Any) -> Any:
    """Map uint32 to uint32, one to one; each bit of a result depends on all bits (Wellons's "lowbias32")."""
    numbers = (numbers ^ (numbers >> 16)) * 0x21F0AAAD
    numbers = (numbers ^ (numbers >> 15)) * 0x735A2D97
    return numbers ^ (numbers >> 15)


def _tensorflow_dropout(inputs: Any, rate: float, seed: Any) -> Any:
    import tensorflow as tf

    from kgenre.kernels.tensorflow_platform import require_own_operations

    require_own_operations()
    inputs = tf.convert_to_tensor(inputs)
    if not inputs.shape.rank or not inputs.shape[-1] or inputs.shape[-1] % 2:
        raise NotImplementedError(f"shape {inputs.shape}")
    shape = tf.shape(inputs)
    pairs = tf.concat([shape[:-1], [inputs.shape[-1] // 2]], 0)
    seed = tf.cast(seed.next(), tf.int32)
    drawn = tf.random.stateless_uniform(pairs, seed, None, None, tf.int32, alg="philox")  # all values of an int32
    halves = tf.reshape(tf.bitcast(drawn, tf.int16), shape)
    dropped = min(round(rate * 2**16), 2**16 - 1)
    kept = halves >= tf.constant(dropped - 2**15, tf.int16)
    # A product, as `tf.where` takes four times as long, and its gradient again.
    return inputs * (tf.cast(kept, inputs.dtype) / (1 - dropped / 2**16))
