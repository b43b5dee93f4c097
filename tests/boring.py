"""A minimal module, its batches and a trainer that writes nothing: what most tests of the trainer start from."""

import keras
import numpy as np
from keras import ops

import kgenre

Lambdas = kgenre.callbacks.LambdaCallback  # a short name: many tests use one


class BoringModule(kgenre.Module):
    """Linear regression, with the same initial weights on every backend; logs a loss in every stage."""

    def __init__(self, learning_rate=0.1, units=2, dropout=0.0):
        self.save_hyperparameters()
        self.learning_rate = learning_rate
        self.model = keras.Sequential(
            [
                keras.Input((4,)),
                *([keras.layers.Dropout(dropout, seed=1)] if dropout else []),
                keras.layers.Dense(units, kernel_initializer=keras.initializers.Constant(_kernel(units))),
            ]
        )

    def error(self, batch, training=False):
        return ops.mean((self.model(batch["x"], training=training) - batch["y"]) ** 2)

    def training_step(self, batch, batch_idx):
        loss = self.error(batch, training=True)
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.error(batch))

    def test_step(self, batch, batch_idx):
        self.log("test/loss", self.error(batch))

    def predict_step(self, batch, batch_idx):
        return self.model(batch["x"])

    def configure_optimizers(self):
        return keras.optimizers.SGD(self.learning_rate)


def _kernel(units):
    return np.linspace(-0.5, 0.5, 4 * units).reshape(4, units).astype("float32")


def boring_batches(count=4, rows=8, seed=0, units=2):
    """A list of batches whose targets are a linear function of their inputs."""
    rng = np.random.default_rng(seed)
    weights = np.random.default_rng(99).normal(size=(4, units))
    xs = [rng.normal(size=(rows, 4)).astype("float32") for _ in range(count)]
    return [{"x": x, "y": (x @ weights).astype("float32")} for x in xs]


def boring_dataset(rows=32, batch_size=8, shuffle=True, seed=0):
    """The same data as an `ArrayDataset` that knows its epochs."""
    (batch,) = boring_batches(count=1, rows=rows, seed=seed)
    return kgenre.ArrayDataset(batch, batch_size=batch_size, shuffle=shuffle, seed=seed)


def quiet_trainer(**arguments):
    """A Trainer that prints and writes nothing, unless an argument enables it."""
    quiet = {
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return kgenre.Trainer(**quiet | arguments)


def descend(batches, learning_rate=0.1, kernel=None):
    """The kernel and bias that `BoringModule` must have after one SGD step per batch, computed with NumPy."""
    kernel, bias = _kernel(2) if kernel is None else kernel, np.zeros(2, "float32")
    for batch in batches:
        slope = 2 * (batch["x"] @ kernel + bias - batch["y"]) / batch["y"].size
        kernel, bias = kernel - learning_rate * batch["x"].T @ slope, bias - learning_rate * slope.sum(0)
    return kernel, bias


def traces(count):
    """The expected number of traces: ``count`` if steps are compiled, 0 under torch, which runs them eagerly."""
    return 0 if keras.backend.backend() == "torch" else count


def weights_of(module):
    """The module's variables by structural name, as NumPy copies."""
    from kgenre.engines.named_variables import named_variables

    return {name: keras.ops.convert_to_numpy(variable) for name, variable in named_variables(module).items()}
