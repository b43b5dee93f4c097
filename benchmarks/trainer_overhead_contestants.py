"""The contestants of `trainer_overhead.py`: each trains the same tiny network in a separate process.

All get the same data in the same order, the same initial weights and Adam with the same settings, so all must reach the
same loss.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from machine import imported_versions
from processes import Script

FEATURES, HIDDEN, TARGETS = 16, 32, 4
BATCH_SIZE = 64
ADAM = {"learning_rate": 1e-3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
Weights = list[np.ndarray]  # kernel (16, 32), bias (32,), kernel (32, 4), bias (4,)


@dataclass(frozen=True)
class Work:
    """The work of one process."""

    contestant: str
    input: str  # "arrays" or "tf.data"
    steps: int  # per epoch
    epochs: int
    folder: str  # for checkpoints and logs


# --- shared by all contestants ----------------------------------------------------------------------------------------


def make_data(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs (steps * 64, 16) and targets (steps * 64, 4), float32: a smooth function with a little noise."""
    random = np.random.default_rng(0)
    x = random.standard_normal((steps * BATCH_SIZE, FEATURES), dtype="float32")
    y = np.tanh(x @ random.standard_normal((FEATURES, TARGETS), dtype="float32") / 2)
    return x, y + 0.1 * random.standard_normal(y.shape, dtype="float32")


def initial_weights() -> Weights:
    """Return Glorot-uniform weights and zero biases, drawn by NumPy so that every framework starts from the same."""
    random = np.random.default_rng(1)

    def kernel(rows: int, columns: int) -> np.ndarray:
        limit = (6 / (rows + columns)) ** 0.5
        return random.uniform(-limit, limit, (rows, columns)).astype("float32")

    return [
        kernel(FEATURES, HIDDEN),
        np.zeros(HIDDEN, "float32"),
        kernel(HIDDEN, TARGETS),
        np.zeros(TARGETS, "float32"),
    ]


def loss_of(weights: Weights, x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean squared error, computed by NumPy: no contestant judges itself."""
    first, first_bias, second, second_bias = weights
    return float(np.mean((np.maximum(x @ first + first_bias, 0) @ second + second_bias - y) ** 2))


def list_of_batches(x: np.ndarray, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return batches of 64, in order."""
    return [(x[i : i + BATCH_SIZE], y[i : i + BATCH_SIZE]) for i in range(0, len(x), BATCH_SIZE)]


def tf_dataset(x: np.ndarray, y: np.ndarray) -> Any:
    """Return a `tf.data` pipeline of the same batches, cut beforehand: batching rows would take most of the step."""
    import tensorflow as tf

    if os.environ["KERAS_BACKEND"] != "tensorflow":  # TensorFlow would allocate GPU memory that JAX needs
        tf.config.set_visible_devices([], "GPU")
    batches = (x.reshape(-1, BATCH_SIZE, FEATURES), y.reshape(-1, BATCH_SIZE, TARGETS))
    return tf.data.Dataset.from_tensor_slices(batches).prefetch(2)


def numpy_epochs(work: Work, x: np.ndarray, y: np.ndarray) -> Callable[[], Iterator[Any]]:
    """Return a function that starts an epoch: an iterator over the batches as NumPy arrays."""
    if work.input == "arrays":
        return partial(iter, list_of_batches(x, y))
    return tf_dataset(x, y).as_numpy_iterator


class Gate:
    """Called at the start of every epoch: reports how long the last one took, then waits until the next may run.

    An epoch lasts from one call to the next, so everything that a trainer does at its end counts.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self._begun: float | None = None

    def __call__(self, wait_for_device: Callable[[], Any]) -> None:
        """Report the last epoch's seconds; return when the script lets the next epoch run."""
        if self._begun is None:
            self.script.answer(ready=True)
        else:
            wait_for_device()
            self.script.answer(seconds=time.perf_counter() - self._begun)
        self.script.wait()
        self._begun = time.perf_counter()


# --- the contestants: each returns its weights after training ---------------------------------------------------------


def keras_model() -> Any:
    """Return the network 16-32-4 with ReLU and `initial_weights`."""
    import keras

    model = keras.Sequential(
        [keras.Input((FEATURES,)), keras.layers.Dense(HIDDEN, activation="relu"), keras.layers.Dense(TARGETS)]
    )
    model.set_weights(initial_weights())
    return model


def train_with_kgenre(work: Work, gate: Gate, x: np.ndarray, y: np.ndarray) -> Weights:
    """Train with the Trainer: ``kgenre`` with its defaults, ``kgenre-single`` with one step per call.

    ``kgenre-bare`` is ``kgenre-single`` without loggers, checkpoints, progress bar and summary.
    """
    import keras
    from keras import ops

    import kgenre

    class Network(kgenre.Module):
        def __init__(self) -> None:
            self.model = keras_model()

        def training_step(self, batch: Any, batch_idx: Any) -> Any:
            inputs, targets = batch
            loss = ops.mean(ops.square(self.model(inputs, training=True) - targets))
            self.log("train/loss", loss, prog_bar=True)
            return loss

        def configure_optimizers(self) -> Any:
            return keras.optimizers.Adam(**ADAM)

    class AtTheGate(kgenre.Callback):
        def on_train_epoch_start(self, trainer: kgenre.Trainer, module: kgenre.Module) -> None:
            gate(lambda: trainer.engine.get_variable(module.model.trainable_variables[0]))

    flags = {} if work.contestant == "kgenre" else {"steps_per_execution": 1}
    if work.contestant == "kgenre-bare":
        off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        flags |= dict.fromkeys(off, False)
    trainer = kgenre.Trainer(max_epochs=work.epochs, callbacks=[AtTheGate()], default_root_dir=work.folder, **flags)
    module = Network()
    trainer.fit(module, list_of_batches(x, y) if work.input == "arrays" else tf_dataset(x, y))
    return module.model.get_weights()


def train_with_keras_fit(work: Work, gate: Gate, x: np.ndarray, y: np.ndarray) -> Weights:
    """Train with ``model.fit``: a ModelCheckpoint every epoch, otherwise its defaults."""
    import keras

    model = keras_model()
    model.compile(optimizer=keras.optimizers.Adam(**ADAM), loss="mean_squared_error")

    class AtTheGate(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            gate(lambda: [np.asarray(variable) for variable in model.trainable_variables])

    callbacks = [AtTheGate(), keras.callbacks.ModelCheckpoint(os.path.join(work.folder, "model.keras"))]
    if work.input == "arrays":
        # fit would take a list of batches for a list of inputs: it gets the arrays and cuts the same batches itself.
        model.fit(x, y, batch_size=BATCH_SIZE, shuffle=False, epochs=work.epochs, callbacks=callbacks)
    else:
        model.fit(tf_dataset(x, y), epochs=work.epochs, callbacks=callbacks)
    return model.get_weights()


def train_by_hand_in_jax(work: Work, gate: Gate, x: np.ndarray, y: np.ndarray) -> Weights:
    """Train with a jitted step that donates its state; the losses are fetched at the end of the epoch."""
    import jax
    import keras

    model, optimizer = keras_model(), keras.optimizers.Adam(**ADAM)
    optimizer.build(model.trainable_variables)
    others = [variable.value for variable in model.non_trainable_variables]

    def loss_fn(trainable: list[Any], inputs: Any, targets: Any) -> Any:
        predictions, _ = model.stateless_call(trainable, others, inputs, training=True)
        return jax.numpy.mean(jax.numpy.square(predictions - targets))

    def step(trainable: list[Any], slots: list[Any], inputs: Any, targets: Any) -> tuple[list[Any], list[Any], Any]:
        loss, gradients = jax.value_and_grad(loss_fn)(trainable, inputs, targets)
        return *optimizer.stateless_apply(slots, gradients, trainable), loss

    step = jax.jit(step, donate_argnums=(0, 1))
    # Copies: an array that a Keras variable still holds must not be donated.
    trainable = [jax.numpy.array(variable.value, copy=True) for variable in model.trainable_variables]
    slots = [jax.numpy.array(variable.value, copy=True) for variable in optimizer.variables]
    epoch = numpy_epochs(work, x, y)
    for _ in range(work.epochs):
        gate(partial(jax.block_until_ready, trainable))
        losses = []
        for inputs, targets in epoch():
            trainable, slots, loss = step(trainable, slots, inputs, targets)
            losses.append(loss)
        np.mean(jax.device_get(losses))
    return [np.asarray(value) for value in trainable]


def train_by_hand_in_tensorflow(work: Work, gate: Gate, x: np.ndarray, y: np.ndarray) -> Weights:
    """Train with a `tf.function` and a GradientTape; the losses are fetched at the end of the epoch."""
    import keras
    import tensorflow as tf

    model, optimizer = keras_model(), keras.optimizers.Adam(**ADAM)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(inputs: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(inputs, training=True) - targets))
        optimizer.apply(tape.gradient(loss, model.trainable_weights), model.trainable_variables)
        return loss

    batches = list_of_batches(x, y) if work.input == "arrays" else tf_dataset(x, y)
    for _ in range(work.epochs):
        gate(lambda: [variable.numpy() for variable in model.trainable_variables])
        losses = [step(tf.convert_to_tensor(inputs), tf.convert_to_tensor(targets)) for inputs, targets in batches]
        tf.reduce_mean(losses).numpy()
    return model.get_weights()


def train_by_hand_in_torch(work: Work, gate: Gate, x: np.ndarray, y: np.ndarray) -> Weights:
    """Train with a loop around ``torch.autograd``; the losses are fetched at the end of the epoch."""
    import keras
    import torch

    model, optimizer = keras_model(), keras.optimizers.Adam(**ADAM)
    optimizer.build(model.trainable_variables)
    parameters = [variable.value for variable in model.trainable_variables]
    epoch = numpy_epochs(work, x, y)
    for _ in range(work.epochs):
        gate(lambda: [parameter.detach().cpu() for parameter in parameters])
        losses = []
        for inputs, targets in epoch():
            inputs, targets = torch.tensor(inputs), torch.tensor(targets)
            loss = torch.nn.functional.mse_loss(model(inputs, training=True), targets)
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                optimizer.apply(gradients, model.trainable_variables)
            losses.append(loss.detach())
        torch.stack(losses).mean().item()
    return model.get_weights()


def train_with_lightning(work: Work, gate: Gate, x: np.ndarray, y: np.ndarray) -> Weights:
    """Train with the defaults of Lightning's Trainer, on the same batches as tensors."""
    import lightning
    import torch

    class Network(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = torch.nn.Sequential(
                torch.nn.Linear(FEATURES, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, TARGETS)
            )
            with torch.no_grad():  # torch stores kernels transposed
                for parameter, value in zip(self.model.parameters(), initial_weights(), strict=True):
                    parameter.copy_(torch.from_numpy(value.T))

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            inputs, targets = batch
            loss = torch.nn.functional.mse_loss(self.model(inputs), targets)
            self.log("train/loss", loss, prog_bar=True)
            return loss

        def configure_optimizers(self) -> Any:
            betas = (ADAM["beta_1"], ADAM["beta_2"])
            return torch.optim.Adam(self.parameters(), ADAM["learning_rate"], betas, ADAM["epsilon"])

    batches = [(torch.from_numpy(a), torch.from_numpy(b)) for a, b in list_of_batches(x, y)]

    class Batches:  # Lightning would take a bare list for several loaders
        def __len__(self) -> int:
            return len(batches)

        def __iter__(self) -> Iterator[Any]:
            return iter(batches)

    class AtTheGate(lightning.Callback):
        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            gate(lambda: [parameter.detach().cpu() for parameter in module.parameters()])

    trainer = lightning.Trainer(
        max_epochs=work.epochs, callbacks=[AtTheGate()], default_root_dir=work.folder, accelerator="auto"
    )
    module = Network()
    trainer.fit(module, Batches())
    return [parameter.detach().cpu().numpy().T for parameter in module.parameters()]


def main() -> None:
    """Train once, as described by the JSON in the first argument."""
    work, script = Work(**json.loads(sys.argv[1])), Script()
    if os.environ["KERAS_BACKEND"] == "torch":
        # Two threads gain nothing on so small a network; on a busy machine they took over ten times longer.
        import torch

        torch.set_num_threads(1)
    by_hand = {"jax": train_by_hand_in_jax, "tensorflow": train_by_hand_in_tensorflow, "torch": train_by_hand_in_torch}
    train = {
        "kgenre": train_with_kgenre,
        "kgenre-single": train_with_kgenre,
        "kgenre-bare": train_with_kgenre,
        "keras-fit": train_with_keras_fit,
        "hand-written": by_hand[os.environ["KERAS_BACKEND"]],
        "lightning": train_with_lightning,
    }[work.contestant]
    x, y = make_data(work.steps)
    weights = train(work, Gate(script), x, y)
    losses = {"initial_loss": loss_of(initial_weights(), x, y), "final_loss": loss_of(weights, x, y)}
    script.answer(**losses, versions=imported_versions())


if __name__ == "__main__":
    main()
