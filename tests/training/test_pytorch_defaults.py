"""Keras's side of the table "What differs between PyTorch and Keras" in kgenre/training/README.md."""

import inspect

import keras
import numpy as np
import pytest
from boring import boring_batches, quiet_trainer

from kgenre import Module


@pytest.mark.parametrize(
    ("made", "defaults"),
    [
        (keras.optimizers.AdamW, {"weight_decay": 0.004, "epsilon": 1e-7}),
        (keras.optimizers.Adam, {"epsilon": 1e-7}),
        (keras.optimizers.RMSprop, {"rho": 0.9, "epsilon": 1e-7}),
        (keras.layers.BatchNormalization, {"momentum": 0.99, "epsilon": 1e-3}),
        (keras.layers.LayerNormalization, {"epsilon": 1e-3}),
        (keras.layers.LeakyReLU, {"negative_slope": 0.3}),
        (keras.layers.Dense, {"kernel_initializer": "glorot_uniform", "bias_initializer": "zeros"}),
        (keras.layers.Conv2D, {"kernel_initializer": "glorot_uniform", "bias_initializer": "zeros"}),
        (keras.layers.LSTM, {"bias_initializer": "zeros", "unit_forget_bias": True}),
        (keras.losses.sparse_categorical_crossentropy, {"from_logits": False}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_defaults(made, defaults):
    parameters = inspect.signature(made).parameters
    assert {name: parameters[name].default for name in defaults} == defaults


def test_embeddings_std_and_padding():
    embeddings = keras.layers.Embedding(50, 40)
    embeddings.build()
    assert 0.049 < abs(keras.ops.convert_to_numpy(embeddings.embeddings)).max() <= 0.05
    assert keras.ops.std(np.array([0.0, 2.0], "float32")) == 1.0
    image = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    same = keras.layers.Conv2D(1, 3, 2, "same", kernel_initializer="ones")
    padded = keras.Sequential([keras.layers.ZeroPadding2D(1), keras.layers.Conv2D(1, 3, 2, kernel_initializer="ones")])
    sums = [keras.ops.convert_to_numpy(network(image))[0, 0, 0, 0] for network in (same, padded)]
    assert sums == [image[0, :3, :3].sum(), image[0, :2, :2].sum()]


def after_one_step(optimizer, gradient=0.5, weight=2.0, **options):
    class OneWeight(Module):
        def __init__(self):
            initializer = keras.initializers.Constant(weight)
            self.layer = keras.layers.Dense(1, use_bias=False, kernel_initializer=initializer, **options)
            self.layer.build((None, 1))

        def training_step(self, batch, batch_idx):
            return gradient * self.layer.kernel[0, 0]

        def configure_optimizers(self):
            return optimizer

    module = OneWeight()
    quiet_trainer().fit(module, boring_batches(1))
    return float(keras.ops.convert_to_numpy(module.layer.kernel)[0, 0])


def test_weight_decay():
    decay = {"weight_decay": 0.1}
    assert after_one_step(keras.optimizers.SGD(0.5, **decay)) == pytest.approx(2.0 * (1 - 0.5 * 0.1) - 0.5 * 0.5)
    regularizer = keras.regularizers.L2(decay["weight_decay"] / 2)
    l2 = after_one_step(keras.optimizers.Adam(0.1, epsilon=1.0), kernel_regularizer=regularizer)
    gradient = 0.5 + 0.1 * 2.0  # as PyTorch's Adam(weight_decay=0.1) sees it
    assert l2 == pytest.approx(2.0 - 0.1 * gradient / (gradient + 1.0 / 0.001**0.5), rel=1e-5)


def test_adam_on_a_layer_that_is_unfrozen_later():
    optimizer, weight = keras.optimizers.Adam(0.01), keras.Variable([0.0])
    optimizer.build([weight])
    optimizer.iterations.assign(10_000)
    optimizer.apply_gradients([(keras.ops.ones((1,)), weight)])
    assert float(weight[0]) == pytest.approx(-0.01 * 0.1 / 0.001**0.5, rel=1e-3)
