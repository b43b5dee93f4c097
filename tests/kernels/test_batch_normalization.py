"""Batch normalisation in one operation, compared with Keras's."""

import keras
import numpy as np
import pytest
from keras import ops

from kgenre.kernels import batch_normalization

BACKEND = keras.backend.backend()
DRAWN = np.random.default_rng(0)


@pytest.mark.skipif(BACKEND == "tensorflow", reason="TensorFlow has a way of its own")
def test_other_backends_are_left_to_keras():
    with pytest.raises(NotImplementedError, match=BACKEND):
        batch_normalization(np.ones((2, 3, 3, 1), "float32"), np.ones(1), np.zeros(1), 1e-3)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the others take Keras's")
@pytest.mark.parametrize("shape", [(8, 6, 5, 7), (1, 1, 1, 3), (64, 33, 31, 16)])
def test_same_as_keras(shape):
    import tensorflow as tf

    pictures, weights = (tf.constant(DRAWN.normal(3, 2, shape), "float32") for _ in range(2))
    gamma, beta = (tf.constant(DRAWN.normal(size=shape[-1]), "float32") for _ in range(2))

    def keras_own(pictures, gamma, beta, epsilon):
        mean, variance = ops.moments(pictures, (0, 1, 2))
        return ops.batch_normalization(pictures, mean, variance, -1, beta, gamma, epsilon), mean, variance

    def both(normalised):
        @tf.function
        def compute():
            with tf.GradientTape() as tape:
                tape.watch((pictures, gamma, beta))
                outputs, mean, variance = normalised(pictures, gamma, beta, 1e-3)
                loss = tf.reduce_mean(tf.tanh(outputs) * weights)
            return outputs, mean, variance, *tape.gradient(loss, (pictures, gamma, beta))

        return compute()

    for ours, theirs in zip(both(batch_normalization), both(keras_own), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=5e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the others take Keras's")
def test_gradient_of_a_gradient():
    """A gradient penalty needs it."""
    import tensorflow as tf

    pictures, gamma, beta = tf.constant(DRAWN.normal(size=(4, 3, 3, 2)), "float32"), tf.ones(2), tf.zeros(2)
    with tf.GradientTape() as outer:
        outer.watch(pictures)
        with tf.GradientTape() as inner:
            inner.watch(pictures)
            loss = tf.reduce_sum(batch_normalization(pictures, gamma, beta, 1e-3)[0] ** 3)
        slope = inner.gradient(loss, pictures)
        penalty = tf.reduce_sum(slope**2)
    assert np.abs(outer.gradient(penalty, pictures)).max() > 0
