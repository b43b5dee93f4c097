"""The convolution, compared with Keras's, with more films than it processes at a time."""

import keras
import numpy as np
import pytest
from keras import ops

from kgenre.kernels import convolution
from kgenre.kernels.convolution import _PIXELS_AT_ONCE

BACKEND = keras.backend.backend()
DRAWN = np.random.default_rng(0)


def arrays(films, height, width, size, dtype="float32"):
    shapes = (films, height, width, 3), (*size, 3, 5)
    return [ops.cast(DRAWN.normal(size=shape).astype("float32"), dtype) for shape in shapes]


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has a way of its own")
def test_other_backends_are_left_to_keras():
    with pytest.raises(NotImplementedError, match=BACKEND):
        convolution(*arrays(1, 4, 4, (2, 2)), (1, 1), "valid")


@pytest.mark.skipif(BACKEND != "jax", reason="the others take Keras's")
def test_bfloat16_is_left_to_keras():
    with pytest.raises(NotImplementedError, match="bfloat16"):
        convolution(*arrays(1, 4, 4, (2, 2), "bfloat16"), (1, 1), "valid")


@pytest.mark.skipif(BACKEND != "jax", reason="the others take Keras's")
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("films", "sides", "size", "strides"),
    [
        (35, (40, 41), (3, 3), (1, 1)),
        (27, (91, 90), (3, 2), (2, 2)),  # no window covers the last row
        (17, (64, 50), (1, 1), (1, 1)),
        (25, (80, 81), (5, 4), (1, 3)),
        (1, (6, 5), (3, 3), (1, 1)),
        (1, (3, 2), (3, 2), (1, 1)),
        (1, (5, 9), (3, 3), (2, 2)),
        (1, (2, 8), (1, 4), (3, 2)),
    ],
)
def test_same_as_keras(films, sides, size, strides, padding):
    import jax

    pictures, kernel = arrays(films, *sides, size)
    weights = DRAWN.normal(size=ops.conv(pictures, kernel, strides, padding).shape).astype("float32")
    assert films == 1 or films * weights.shape[1] * weights.shape[2] > _PIXELS_AT_ONCE

    def both(convolved):
        def loss(pictures, kernel):
            return (ops.tanh(convolved(pictures, kernel, strides, padding)) * weights).sum()

        return jax.jit(jax.value_and_grad(loss, (0, 1)))(pictures, kernel)

    (ours, our_gradients), (keras_own, their_gradients) = both(convolution), both(ops.conv)
    np.testing.assert_allclose(ours, keras_own, rtol=1e-5)
    for mine, other in zip(our_gradients, their_gradients, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-3)


@pytest.mark.skipif(BACKEND != "jax", reason="the others take Keras's")
def test_gradient_of_no_films_is_zero():
    import jax

    pictures, kernel = arrays(0, 5, 4, (3, 2))
    slopes = jax.grad(lambda p, k: convolution(p, k, (1, 1), "same").sum(), (0, 1))(pictures, kernel)
    assert [slope.shape for slope in slopes] == [pictures.shape, kernel.shape]
    assert not slopes[1].any()


@pytest.mark.skipif(BACKEND != "jax", reason="the others take Keras's")
def test_gradient_of_a_gradient():
    """A gradient penalty needs it."""
    import jax

    pictures, kernel = arrays(3, 50, 44, (3, 3))

    def both(convolved):
        def steepness(kernel):
            slope = jax.grad(lambda p: ops.tanh(convolved(p, kernel, (1, 1), "same")).sum())(pictures)
            return (slope**2).mean()

        return jax.jit(jax.grad(steepness))(kernel)

    np.testing.assert_allclose(both(convolution), both(ops.conv), rtol=1e-4, atol=1e-5)
