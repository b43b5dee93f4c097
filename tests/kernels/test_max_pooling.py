"""Max pooling, compared with Keras's, with the ties that ReLU leaves."""

import keras
import numpy as np
import pytest
from keras import ops

from kgenre.kernels import max_pooling

BACKEND = keras.backend.backend()


def pictures(shape=(3, 7, 9, 4), dtype="float32"):
    numbers = np.random.default_rng(0).integers(-2, 3, shape)  # few values: many ties
    return ops.relu(ops.convert_to_tensor(numbers, dtype))


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has a way of its own")
def test_other_backends_are_left_to_keras():
    with pytest.raises(NotImplementedError, match=BACKEND):
        max_pooling(pictures(), (2, 2))


@pytest.mark.skipif(BACKEND != "jax", reason="the others take Keras's")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("size", [(2, 2), (2, 3)])
def test_bitwise_same_as_keras(size, dtype):
    import jax

    x = pictures(dtype=dtype)
    weights = np.arange(3 * (7 // size[0]) * (9 // size[1]) * 4).reshape(3, 7 // size[0], 9 // size[1], 4)

    def both(pool):
        return jax.value_and_grad(lambda x: (pool(x) * ops.cast(weights, dtype)).sum())(x)

    ours, keras_own = both(lambda x: max_pooling(x, size)), both(lambda x: ops.max_pool(x, size, size))
    np.testing.assert_array_equal(max_pooling(x, size), ops.max_pool(x, size, size))
    for mine, other in zip(ours, keras_own, strict=True):
        np.testing.assert_array_equal(np.asarray(mine, "float32"), np.asarray(other, "float32"))
