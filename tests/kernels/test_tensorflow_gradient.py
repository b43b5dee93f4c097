"""A gradient of one's own: used by tapes, and nothing of the graph stays in memory."""

import gc

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="for TensorFlow's kernels")


def graphs():
    gc.collect()
    return sum(type(thing).__name__ == "FuncGraph" for thing in gc.get_objects())


def test_gradient_is_used_and_no_graph_is_kept():
    import tensorflow as tf

    from kgenre.kernels.tensorflow_gradient import with_gradient

    @with_gradient
    def product(first, second):
        return (first * second, first), lambda d_product, d_first: (10 * d_product + d_first, None)

    def traced():
        first, second = tf.constant([1.0, 2.0]), tf.constant([3.0, 4.0])

        @tf.function
        def gradients():
            with tf.GradientTape() as tape:
                tape.watch((first, second))
                outputs, same = product(first, second)
                loss = tf.reduce_sum(outputs * 2) + tf.reduce_sum(same)
            return outputs, *tape.gradient(loss, (first, second), unconnected_gradients="zero")

        return [tensor.numpy() for tensor in gradients()]

    before = graphs()
    np.testing.assert_array_equal(traced(), [[3, 8], [21, 21], [0, 0]])
    assert graphs() == before


@pytest.mark.parametrize("kernel", ["lstm", "convolution"])
def test_traced_network_leaves_no_graph(kernel):
    import tensorflow as tf

    from kgenre.models.layers import Bidirectional, Conv2D

    def traced():
        layer = Bidirectional(keras.layers.LSTM(2, recurrent_dropout=0.1)) if kernel == "lstm" else Conv2D(2, 1)
        inputs = tf.ones((2, 3, 4) if kernel == "lstm" else (2, 3, 3, 4))

        @tf.function
        def gradients():
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(layer(inputs, training=True))
            return tape.gradient(loss, [weight.value for weight in layer.trainable_weights])

        assert all(np.isfinite(gradient).all() for gradient in gradients())

    traced()  # TensorFlow keeps some graphs of the first
    before = graphs()
    traced()
    assert graphs() == before
