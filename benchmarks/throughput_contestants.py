"""The contestants of `throughput.py`: each trains the same network with Adam, on batches of the same size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gpu_program import Program
from networks import LEARNING_RATE, POSTERS, PRECISIONS, SEVERAL, build, module_of
from throughput_device import profile_of
from throughput_rounds import Batches, Cell, Clock, endless_dataset, pipeline, source

POLICIES = {"fp32": "float32", "bf16": "mixed_bfloat16"}  # of Keras


def run_kgenre(cell: Cell, clock: Clock) -> None:
    """Train with the Trainer's defaults: TensorBoard and CSV loggers, checkpoints, a line of progress per epoch."""
    import kgenre

    class AtTheClock(kgenre.Callback):
        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            clock.wait = lambda: trainer.engine.get_variable(module.model.trainable_variables[-1])
            clock.start("train")

        def on_validation_epoch_start(self, trainer: Any, module: Any) -> None:
            clock.stop("train")
            clock.start("inference")

        def on_validation_epoch_end(self, trainer: Any, module: Any) -> None:
            trainer.engine.epoch_logs("validation")
            clock.stop("inference")

    logger = True
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        logger = kgenre.loggers.CSVLogger()
    trainer = kgenre.Trainer(
        max_epochs=cell.rounds,
        callbacks=[AtTheClock()],
        default_root_dir=cell.folder,
        precision=PRECISIONS[cell.precision],
        num_sanity_val_steps=0,
        logger=logger,
        steps_per_execution=SEVERAL if cell.contestant == "kgenre-several" else "auto",
    )
    batches = source(cell, clock, on_device(cell), lambda batch: batch)
    trainer.fit(module_of(cell.model, lambda: build(cell.model)), batches, batches)
    if cell.profile:
        clock.script.answer(profile=profile_of(trainer.engine, next(iter(batches))))


def run_keras_fit(cell: Cell, clock: Clock) -> None:
    """Train stock layers with ``model.fit``: a `ModelCheckpoint` every epoch, otherwise its defaults."""
    import keras

    model = stock_model(cell)
    model.compile(keras.optimizers.Adam(LEARNING_RATE), "binary_crossentropy")

    class AtTheClock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            clock.wait = lambda: keras.ops.convert_to_numpy(model.trainable_variables[-1])
            clock.start("train")

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            # Not in on_test_begin: before it, Keras under TensorFlow takes up to a second per epoch to start the
            # evaluation. `ModelCheckpoint` has this hook too, so it costs nothing more.
            if batch == cell.steps - 1:
                if cell.backend == "jax":  # its variables have no values in an epoch; ``fit`` syncs them right after
                    model.jax_state_sync()
                clock.stop("train")

        def on_test_begin(self, logs: Any = None) -> None:
            clock.start("inference")

        def on_test_end(self, logs: Any = None) -> None:
            clock.stop("inference")

    def form(batch: dict[str, Any]) -> Any:
        return batch["x"], batch["genres"]

    def endless() -> Any:
        # Under TensorFlow Keras makes a generator a tf.data.Dataset that calls Python: steps took three times as long.
        return endless_dataset(cell, form) if cell.backend == "tensorflow" else generated()

    def generated() -> Iterator[Any]:
        batches = source(cell, clock, on_device(cell), form)
        while True:
            yield from batches

    model.fit(
        endless(),
        steps_per_epoch=cell.steps,
        epochs=cell.rounds,
        validation_data=endless(),
        validation_steps=cell.steps,
        callbacks=[
            AtTheClock(),
            keras.callbacks.ModelCheckpoint(f"{cell.folder}/last.weights.h5", save_weights_only=True),
        ],
        verbose=0,
    )


def run_by_hand(cell: Cell, clock: Clock) -> None:
    """Train stock layers with the loop one would write instead, in the backend's own API; losses fetched at the end."""
    import keras

    model, optimizer = stock_model(cell), keras.optimizers.Adam(LEARNING_RATE)
    optimizer.build(model.trainable_variables)
    batches = source(cell, clock, on_device(cell), lambda batch: (batch["x"], batch["genres"]))
    loss_of = keras.losses.binary_crossentropy
    if cell.backend == "tensorflow":
        import tensorflow as tf

        @tf.function
        def train(x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(loss_of(y, model(x, training=True)))
            optimizer.apply(tape.gradient(loss, model.trainable_weights), model.trainable_variables)
            return loss

        @tf.function
        def infer(x: Any, y: Any) -> Any:
            return tf.reduce_mean(loss_of(y, model(x, training=False)))

        def fetch(losses: list[Any]) -> None:
            tf.stack(losses).numpy()
    else:
        import jax
        from jax import numpy as jnp

        def objective(weights: Any, others: Any, x: Any, y: Any) -> Any:
            predicted, others = model.stateless_call(weights, others, x, training=True)
            return jnp.mean(loss_of(y, predicted)), others

        @jax.jit(donate_argnums=0)
        def update(state: Any, x: Any, y: Any) -> Any:
            weights, others, slots = state
            (loss, others), gradients = jax.value_and_grad(objective, has_aux=True)(weights, others, x, y)
            weights, slots = optimizer.stateless_apply(slots, gradients, weights)
            return (weights, others, slots), loss

        @jax.jit
        def evaluate(state: Any, x: Any, y: Any) -> Any:
            return jnp.mean(loss_of(y, model.stateless_call(state[0], state[1], x, training=False)[0]))

        def copies(variables: Any) -> Any:  # an array that a Keras variable still holds must not be donated
            return [jnp.array(variable.value, copy=True) for variable in variables]

        state = [copies(v) for v in (model.trainable_variables, model.non_trainable_variables, optimizer.variables)]
        held = [tuple(state)]

        compiled: dict[Any, Any] = {}  # by the shape of a batch

        def train(x: Any, y: Any) -> Any:
            if x.shape not in compiled:
                compiled[x.shape] = update.lower(held[0], x, y).compile()
                # Keras's LSTM moves other bytes than kgenre's; on a CPU, much of them would stay in the caches.
                if not cell.reads_words and cell.device == "gpu":
                    clock.facts = {"bytes_per_step": Program(compiled[x.shape].as_text()).traffic}
            held[0], loss = compiled[x.shape](held[0], x, y)
            return loss

        def infer(x: Any, y: Any) -> Any:
            return evaluate(held[0], x, y)

        def fetch(losses: list[Any]) -> None:
            jax.device_get(losses)

    for _ in range(cell.rounds):
        for part, step in (("train", train), ("inference", infer)):
            clock.start(part)
            fetch([step(*batch) for batch in batches])
            clock.stop(part)


def run_lightning(cell: Cell, clock: Clock) -> None:
    """Train the network in torch with the defaults of Lightning's Trainer; TF32 allowed, as in JAX and TensorFlow."""
    import torch
    from networks_torch import torch_network

    lightning = import_lightning()
    torch.set_float32_matmul_precision("high")
    device = torch.device("cuda" if cell.device == "gpu" else "cpu")
    network = torch_network(cell.model)

    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def _loss(self, batch: Any) -> Any:
            *inputs, genres = batch
            logits = self.network(*inputs) if cell.reads_words else self.network(inputs[0].float() / 255)
            return torch.nn.functional.binary_cross_entropy_with_logits(logits, genres)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = self._loss(batch)
            self.log("train/loss", loss, prog_bar=True)
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val/loss", self._loss(batch))

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), LEARNING_RATE)

        def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
            return batch  # it is there already, except the lengths, which stay on the host

    class AtTheClock(lightning.Callback):
        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            clock.start("train")

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == cell.steps - 1:
                clock.stop("train")

        def on_validation_epoch_start(self, trainer: Any, module: Any) -> None:
            clock.start("inference")

        def on_validation_epoch_end(self, trainer: Any, module: Any) -> None:
            clock.stop("inference")

    if cell.device == "gpu":
        clock.wait = torch.cuda.synchronize

    def form(batch: dict[str, Any]) -> Any:
        if not cell.reads_words:
            return batch["x"].permute(0, 3, 1, 2).contiguous(), batch["genres"]
        lengths = (batch["x"] != 0).sum(1).cpu()  # pack_padded_sequence needs them on the CPU
        return batch["x"], lengths, batch["genres"]

    batches = source(cell, clock, lambda array: torch.from_numpy(array).to(device), form)

    trainer = lightning.Trainer(
        max_epochs=cell.rounds,
        callbacks=[AtTheClock()],
        default_root_dir=cell.folder,
        accelerator=cell.device,
        devices=1,
        precision=PRECISIONS[cell.precision],
        num_sanity_val_steps=0,
    )
    trainer.fit(Classifier(), batches, batches)


def import_lightning() -> Any:
    """Import Lightning under either of its names."""
    try:
        import lightning
    except ImportError:
        import pytorch_lightning as lightning
    return lightning


def run_input(cell: Cell, clock: Clock) -> None:
    """Read the film pipeline alone, without a network."""
    batches = Batches(clock, cell.steps, lambda: pipeline(cell))
    for _ in range(cell.rounds):
        for part in ("train", "inference"):
            clock.start(part)
            for _ in batches:
                pass
            clock.stop(part)


def stock_model(cell: Cell) -> Any:
    import keras

    from kgenre.engines import prepare_keras

    prepare_keras()
    keras.config.set_dtype_policy(POLICIES[cell.precision])
    network = build(cell.model, stock=True)
    if cell.reads_words:
        return network
    return keras.Sequential(
        [keras.Input((*POSTERS[cell.model], 3)), keras.layers.Rescaling(1 / 255.0, dtype="float32"), network]
    )


def on_device(cell: Cell) -> Callable[[Any], Any]:
    """Return a function that puts an array on the device, in the form that the backend's steps take."""
    if cell.backend == "tensorflow":
        import tensorflow as tf

        return lambda array: tf.identity(tf.convert_to_tensor(array))
    if cell.backend == "torch":
        import torch

        return lambda array: torch.from_numpy(array).to("cuda" if cell.device == "gpu" else "cpu")
    import jax

    return jax.device_put


CONTESTANTS = {
    "kgenre": run_kgenre,
    "kgenre-several": run_kgenre,
    "keras-fit": run_keras_fit,
    "keras-fit-padded": run_keras_fit,
    "raw": run_by_hand,
    "lightning": run_lightning,
    "input": run_input,
}
