"""The bias's gradient, compared with TensorFlow's own."""

import keras
import numpy as np
import pytest
from boring import BoringModule, boring_batches, quiet_trainer

from kgenre.kernels import add_bias

BACKEND = keras.backend.backend()


@pytest.mark.skipif(BACKEND == "tensorflow", reason="TensorFlow has a way of its own")
def test_other_backends_are_left_to_keras():
    with pytest.raises(NotImplementedError, match=BACKEND):
        add_bias(np.ones((2, 3), "float32"), np.ones(3, "float32"))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the others take Keras's")
class TestUnderTensorFlow:
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    @pytest.mark.parametrize("films", [0, 1, 40])
    def test_same_as_tensorflow(self, films, dtype):
        import tensorflow as tf

        drawn = np.random.default_rng(0)
        convolved = tf.constant(drawn.normal(size=(films, 30, 20, 8)), dtype)
        weights, bias = tf.cast(drawn.normal(size=convolved.shape), dtype), tf.constant(drawn.normal(size=8), dtype)

        def both(added):
            with tf.GradientTape() as tape:
                tape.watch((convolved, bias))
                outputs = added(convolved, bias)
            return outputs, *tape.gradient(outputs, (convolved, bias), weights)

        (outputs, *gradients), (expected, d_convolved, _) = both(add_bias), both(tf.nn.bias_add)
        d_bias = tf.reduce_sum(tf.cast(weights, "float32"), (0, 1, 2))  # as TensorFlow's own adds up in bfloat16
        np.testing.assert_array_equal(outputs, expected)
        np.testing.assert_array_equal(gradients[0], d_convolved)
        np.testing.assert_allclose(
            np.asarray(gradients[1], "float32"), d_bias, rtol=1e-4 if dtype == "float32" else 1e-2
        )

    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_xla_is_left_to_keras(self, jit_compile):
        ours = []

        class Net(BoringModule):
            def training_step(self, batch, batch_idx):
                try:
                    add_bias(np.ones((2, 3), "float32"), np.ones(3, "float32"))
                    ours.append(True)
                except NotImplementedError:
                    ours.append(False)
                return super().training_step(batch, batch_idx)

        quiet_trainer(jit_compile=jit_compile).fit(Net(), boring_batches(1))
        assert ours[-1] == (not jit_compile)  # before, the step was traced to build the layers

    def test_gradient_of_a_gradient(self):
        """A gradient penalty needs it."""
        import tensorflow as tf

        bias = tf.constant([0.5, -2.0])
        with tf.GradientTape() as outer:
            outer.watch(bias)
            with tf.GradientTape() as inner:
                inner.watch(bias)
                cubed = tf.reduce_sum(add_bias(tf.ones((3, 2)), bias) ** 3)
            slope = inner.gradient(cubed, bias)
        np.testing.assert_allclose(outer.gradient(slope, bias), 18 * (1 + bias.numpy()))

    def test_is_not_merged_with_the_gradient_of_the_kernel(self):
        import tensorflow as tf

        kernel, bias = tf.Variable(tf.random.normal((3, 3, 4, 4), seed=0)), tf.Variable(tf.zeros(4))
        pictures = tf.random.normal((2, 8, 8, 4), seed=1)

        @tf.function
        def gradients():
            with tf.GradientTape() as tape:
                convolved = tf.nn.conv2d(pictures, kernel, 1, "SAME")
                loss = tf.reduce_sum(tf.nn.relu(add_bias(convolved, tf.convert_to_tensor(bias))) ** 2)
            return tape.gradient(loss, (kernel, bias))

        positive = tf.nn.relu(tf.nn.conv2d(pictures, kernel, 1, "SAME"))
        np.testing.assert_allclose(gradients()[1], 2 * tf.reduce_sum(positive, (0, 1, 2)), rtol=1e-4)
        operations = {operation.type for operation in gradients.get_concrete_function().graph.get_operations()}
        assert "BiasAdd" in operations  # merged with the convolution and the ReLU
        assert "BiasAddGrad" not in operations
