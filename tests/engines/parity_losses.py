"""Train small cases under the current KERAS_BACKEND and print their losses as JSON: run by test_parity.py.

Initial weights and batches are drawn by NumPy and dropout is 0, so that only arithmetic differs between backends.
"""

import json

import keras
import numpy as np
from keras import ops

import kgenre
from kgenre.engines.initial_weights import drawing_initial_weights
from kgenre.engines.named_variables import named_variables

STEPS = 10


class Classifier(kgenre.Module):
    def __init__(self, model, optimizer):
        self.model = model
        self.optimizer = optimizer

    def training_step(self, batch, batch_idx):
        return ops.mean(keras.losses.binary_crossentropy(batch["y"], self.model(batch["x"], training=True)))

    def configure_optimizers(self):
        return self.optimizer


class Everything(Classifier):
    """BatchNorm, an activity regulariser, a weight regulariser, weight decay, a stateful metric, clipping."""

    def __init__(self, optimizer):
        layers = keras.layers
        model = keras.Sequential(
            [
                keras.Input((12,)),
                layers.Dense(16, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-3)),
                layers.BatchNormalization(),
                layers.Dense(8, activity_regularizer=keras.regularizers.L1(1e-3)),
                layers.Dense(4, activation="sigmoid"),
            ]
        )
        super().__init__(model, optimizer)
        self.error = keras.metrics.MeanAbsoluteError()

    def training_step(self, batch, batch_idx):
        probabilities = self.model(batch["x"], training=True)
        self.error.update_state(batch["y"], probabilities)
        self.log("train/error", self.error)
        return ops.mean(keras.losses.binary_crossentropy(batch["y"], probabilities))


def cnn(rng):
    from kgenre.models import poster_cnn_2024

    x = rng.random((STEPS, 16, 32, 32, 3), dtype="float32")
    return poster_cnn_2024(genres=4, image_size=(32, 32), dropout=0.0, dense_dropout=0.0), x


def lstm(rng):
    from kgenre.models import overview_lstm

    # A small vocabulary, so that words repeat within a batch and sparse gradients have to add up their rows.
    x = rng.integers(1, 12, (STEPS, 16, 10)).astype("int32")
    x[:, ::2, 7:] = 0
    none = {"dropout": 0.0, "recurrent_dropout": 0.0, "dense_dropout": 0.0}
    return overview_lstm(genres=4, vocabulary_size=12, embedding_dim=16, **none), x


def losses(case, optimizer):
    rng = np.random.default_rng(0)
    optimizers = {
        "adam": lambda: keras.optimizers.AdamW(1e-3, weight_decay=0.01),
        "sgd": lambda: keras.optimizers.SGD(0.01),
    }
    if case == "everything":
        module, x = Everything(optimizers[optimizer]()), rng.normal(size=(STEPS, 16, 12)).astype("float32")
    else:
        with drawing_initial_weights():  # the random ones are overwritten below
            model, x = {"cnn": cnn, "lstm": lstm}[case](rng)
        module = Classifier(model, optimizers[optimizer]())
    y = (rng.random((STEPS, 16, 4)) < 0.3).astype("float32")
    for variable in named_variables(module).values():
        if variable.trainable and len(variable.shape) > 1:
            fan_in = np.prod(variable.shape[:-1])
            variable.assign(
                rng.normal(size=variable.shape) * min(0.5, fan_in**-0.5),
            )
    seen = []

    class Watch(kgenre.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            seen.append(outputs["loss"])

    batches = [{"x": a, "y": b} for a, b in zip(x, y, strict=True)]
    trainer = kgenre.Trainer(
        max_epochs=1,
        callbacks=Watch(),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=1.0 if case == "everything" else None,
    )
    trainer.fit(module, batches)
    result = {"losses": [float(value) for value in trainer.engine.to_host(seen)]}
    return result | {name: value for name, value in trainer.callback_metrics.items() if name == "train/error"}


# Adam divides by the root of the squared gradients, which amplifies rounding: SGD is the stricter test of the networks.
CASES = [("cnn", "sgd"), ("lstm", "sgd"), ("everything", "adam"), ("everything", "sgd")]


def all_losses():
    return {f"{case}-{optimizer}": losses(case, optimizer) for case, optimizer in CASES}


if __name__ == "__main__":
    print(json.dumps(all_losses()))
