"""The noise must be as good as random: the right share is dropped, and positions, steps and seeds are uncorrelated."""

import keras
import numpy as np
import pytest

from kgenre.kernels import dropout

BACKEND = keras.backend.backend()
ONES = np.ones((64, 32, 32, 4), "float32")

has_a_kernel = pytest.mark.skipif(BACKEND not in ("jax", "tensorflow"), reason="left to Keras")


def kept(rate=0.5, generator=None):
    return keras.ops.convert_to_numpy(dropout(ONES, rate, generator or keras.random.SeedGenerator(1))) > 0


@pytest.mark.skipif(BACKEND in ("jax", "tensorflow"), reason="they have ways of their own")
def test_other_backends_are_left_to_keras():
    generator = keras.random.SeedGenerator(0)
    before = keras.ops.convert_to_numpy(generator.state.value)
    with pytest.raises(NotImplementedError, match=BACKEND):
        dropout(ONES, 0.5, generator)
    np.testing.assert_array_equal(before, keras.ops.convert_to_numpy(generator.state.value))


@has_a_kernel
@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
def test_share_and_scale(rate):
    out = keras.ops.convert_to_numpy(dropout(ONES, rate, keras.random.SeedGenerator(0)))
    np.testing.assert_allclose(np.unique(out), [0, 1 / (1 - rate)], rtol=2e-5)  # TensorFlow: rate in 65,536ths
    assert abs((out > 0).mean() - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / out.size)
    for axis in range(4):  # no film, row, column or channel loses more than its share
        shares = (out > 0).mean(axis=tuple(a for a in range(4) if a != axis))
        spread = np.sqrt(rate * (1 - rate) / (out.size / len(shares)))
        assert abs(shares - (1 - rate)).max() < 5 * spread


@has_a_kernel
def test_neighbours_steps_and_seeds_are_uncorrelated():
    generator = keras.random.SeedGenerator(1)
    masks = [kept(generator=generator) for _ in range(3)]  # (seed, counter): (1, 0), (1, 1), (1, 2)
    masks += [kept(generator=keras.random.SeedGenerator(seed)) for seed in (2, 3, 2**31)]
    signs = np.stack([np.where(mask, 1.0, -1.0).ravel() for mask in masks])
    limit = 5 / np.sqrt(signs.shape[1])
    between = signs @ signs.T / signs.shape[1] - np.eye(len(masks))
    assert abs(between).max() < limit
    for lag in (1, 2, 3, 4, 32, 128, 4096):  # channels, columns, rows, films
        assert abs((signs[:, lag:] * signs[:, :-lag]).mean(axis=1)).max() < limit * 1.1


@has_a_kernel
def test_same_seed_same_noise():
    np.testing.assert_array_equal(kept(), kept())


@has_a_kernel
def test_gradient_has_the_same_mask():
    def noise(inputs):
        return dropout(inputs, 0.3, keras.random.SeedGenerator(4))

    if BACKEND == "jax":
        import jax

        gradient = jax.grad(lambda inputs: noise(inputs).sum())(ONES)
    else:
        import tensorflow as tf

        inputs = tf.constant(ONES)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = noise(inputs)
        gradient = tape.gradient(outputs, inputs)
    np.testing.assert_array_equal(gradient, noise(ONES))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="its random numbers come in pairs")
class TestUnderTensorFlow:
    @pytest.mark.parametrize("shape", [(), (4, 3), (4, 0)])
    def test_odd_rows_are_left_to_keras(self, shape):
        with pytest.raises(NotImplementedError, match="shape"):
            dropout(np.ones(shape, "float32"), 0.5, keras.random.SeedGenerator(0))

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
    def test_traced_with_any_number_of_rows(self, dtype):
        import tensorflow as tf

        generator = keras.random.SeedGenerator(0)
        noise = tf.function(lambda x: dropout(x, 0.25, generator), input_signature=[tf.TensorSpec((None, 6), dtype)])
        for rows in (0, 1, 4000):
            out = noise(tf.ones((rows, 6), dtype))
            assert (out.shape, out.dtype) == ((rows, 6), dtype)
        assert abs(float(tf.reduce_mean(tf.cast(out > 0, "float32"))) - 0.75) < 0.015

    @pytest.mark.parametrize("rate", [1e-9, 1 - 1e-9])
    def test_extreme_rates(self, rate):
        out = np.asarray(dropout(ONES, rate, keras.random.SeedGenerator(0)))
        assert np.isfinite(out).all()
        assert (out > 0).mean() == pytest.approx(1 - rate, abs=1e-4)
