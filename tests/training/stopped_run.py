"""A run with every kind of state, to be stopped somewhere and resumed.

All that it computes can be compared: weights, optimizer, metrics, every logged value and which batches were seen.
"""

import csv
import hashlib
import os
import signal
import tempfile
from functools import cache
from pathlib import Path

import keras
import numpy as np
from boring import BoringModule, boring_batches, quiet_trainer
from keras import ops

import kgenre
from kgenre.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint, ReduceLROnPlateau, WeightAveraging
from kgenre.data import FilmData, make_sample_films
from kgenre.loggers import CSVLogger, TensorBoardLogger
from kgenre.models import GenreClassifier

EPOCHS, BATCHES = 4, 7


class Everything(BoringModule):
    """Dropout, noise, batch normalisation, Adam, metrics, and every kind of logged value, in steps and in hooks."""

    def __init__(self):
        super().__init__(learning_rate=0.05)
        layers = keras.layers
        self.model = keras.Sequential(
            [
                keras.Input((4,)),
                layers.Dropout(0.3, seed=1),
                layers.Dense(3, kernel_initializer=keras.initializers.GlorotUniform(seed=2)),
                layers.BatchNormalization(),
                layers.Dense(2, kernel_initializer=keras.initializers.GlorotUniform(seed=3)),
            ]
        )
        self.noise = keras.random.SeedGenerator(5)
        self.train_metric = keras.metrics.MeanSquaredError()
        self.val_metric = keras.metrics.MeanAbsoluteError()

    def training_step(self, batch, batch_idx):
        x = batch["x"] + 0.1 * keras.random.normal(ops.shape(batch["x"]), seed=self.noise)  # augmentation
        prediction = self.model(x, training=True)
        loss = ops.mean((prediction - batch["y"]) ** 2)
        self.train_metric.update_state(batch["y"], prediction)
        self.log("train/metric", self.train_metric)
        self.log("train/loss", loss, on_epoch=True)
        self.log("train/first_row", batch["row"][0], on_step=True)
        self.log("train/batch_idx", batch_idx, on_step=True)
        for reduction in ("sum", "min", "max"):
            self.log(f"train/{reduction}", loss, on_step=False, on_epoch=True, reduce_fx=reduction)
        return loss

    def validation_step(self, batch, batch_idx):
        prediction = self.model(batch["x"])
        self.val_metric.update_state(batch["y"], prediction)
        self.log("val/metric", self.val_metric)
        self.log("val/loss", ops.mean((prediction - batch["y"]) ** 2))

    def on_validation_end(self):
        self.log("hook/validation", float(np.random.random()))

    def on_train_epoch_end(self):
        if self.trainer.epoch_is_done:
            self.log("hook/epoch", float(self.current_epoch))

    def configure_optimizers(self):
        return keras.optimizers.Adam(self.learning_rate)


class LogsInBatchHooks(Everything):
    """Logs in a batch hook too, whose values wait for the next write. Such a hook rules out several steps per call."""

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if batch_idx % 3 == 0:
            self.log("hook/batch", float(batch_idx))


# --- films: augmented posters, with mixup and CutMix; overviews in length buckets ------------------------------------


class FilmGenres(GenreClassifier):
    """Logs the first film of each batch, and the mean and width of what the network reads."""

    def training_step(self, batch, batch_idx):
        self.log("train/first_film", batch["index"][0], on_step=True)
        read = batch[self.inputs[0]]
        self.log("train/read", ops.mean(ops.cast(read, "float32")), on_step=True)
        self.log("train/width", ops.shape(read)[1], on_step=True)
        return super().training_step(batch, batch_idx)


def poster_network(genres):
    layers = keras.layers
    posters = keras.Input((16, 16, 3), name="poster")
    x = layers.Conv2D(4, 3, strides=2, activation="relu", name="conv")(posters)
    x = layers.GlobalAveragePooling2D(name="pool")(layers.BatchNormalization(name="norm")(x))
    x = layers.Dropout(0.3, name="drop")(x)
    return keras.Model(posters, layers.Dense(genres, activation="sigmoid", name="genres")(x))


def overview_network(genres):
    layers = keras.layers
    words = keras.Input((None,), dtype="int32", name="overview")
    x = layers.Embedding(200, 4, mask_zero=True, name="words")(words)
    x = layers.SimpleRNN(4, dropout=0.2, recurrent_dropout=0.2, name="rnn")(x)  # compiles faster than an LSTM
    return keras.Model(words, layers.Dense(genres, activation="sigmoid", name="genres")(x))


def posters():
    augment = {"flip": 0.5, "shift": 0.2, "crop": 0.2, "color": 0.3, "erase": 0.5}
    films = FilmData(_films(), overviews=False, image_size=(16, 16), batch_size=5, augment=augment)
    return FilmGenres(poster_network, mixup=0.2, cutmix=1.0, learning_rate=0.01), films


def overviews():
    films = FilmData(_films(), posters=False, vocabulary_size=200, batch_size=2, length_buckets=2)
    return FilmGenres(overview_network, learning_rate=0.01), films


@cache
def _films():
    return str(make_sample_films(Path(_FOLDER.name) / "films", n=48))


_FOLDER = tempfile.TemporaryDirectory(prefix="films-", ignore_cleanup_errors=True)


# --- stops -----------------------------------------------------------------------------------------------------------


class Stop(kgenre.Callback):
    """Stops training after ``after`` batches, counted over all epochs."""

    def next_step_needed(self, trainer):
        return trainer.global_step + self.left if self.left > 0 else float("inf")

    def __init__(self, after, how):
        self.left, self.how = after, how

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if self.left == 0 and self.how is crash_between_steps:
            raise CrashError

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.left -= 1
        if self.left == 0:
            self.how(trainer)


class CrashError(Exception):
    pass


def crash(trainer):
    raise CrashError


def crash_between_steps(trainer):
    """Marks a crash at the start of the next step: hooks that an error within a step skips cannot be made up for."""


def should_stop(trainer):
    trainer.should_stop = True


def ctrl_c(trainer):
    signal.raise_signal(signal.SIGINT)


def sigterm(trainer):
    signal.raise_signal(signal.SIGTERM)


def sigkill(trainer):
    os.kill(os.getpid(), signal.SIGKILL)


# Ways to stop a run, with options of `ModelCheckpoint` that let it be resumed.
WAYS = {
    "crash, saved at each step": (crash, {"every_n_train_steps": 1}),
    "crash, saved each epoch": (crash, {"every_n_epochs": 1}),
    "crash, saved in the background": (crash, {"every_n_train_steps": 2, "async_save": True}),
    "crash, saved by it": (crash_between_steps, {"save_on_exception": True}),
    "ctrl-c": (ctrl_c, {}),
    "sigterm": (sigterm, {}),
    "should_stop": (should_stop, {}),
}

# Options of runs, by name.
OPTIONS = {
    "plain": {},
    "accumulation": {"accumulate_grad_batches": 3},
    "validation inside": {"val_check_interval": 2},
    "average": {"average": 0.7},
    "four steps in a call": {"steps_per_execution": 4, "module": Everything, "log_every_n_steps": 5},
    "all": {"accumulate_grad_batches": 2, "val_check_interval": 3, "gradient_clip_val": 0.5, "average": 0.9},
    "posters": {"films": posters, "average": 0.9, "val_check_interval": 3},
    "overviews": {"films": overviews, "max_epochs": 2, "steps_per_execution": 4, "log_every_n_steps": 5},
}


def data():
    (batch,) = boring_batches(count=1, rows=8 * BATCHES, seed=3)
    batch["row"] = np.arange(8 * BATCHES, dtype="float32")
    return kgenre.ArrayDataset(batch, batch_size=8, shuffle=True, seed=4)


def fit(root, checkpoint, ckpt_path=None, stop=None, module=LogsInBatchHooks, films=None, average=None, **arguments):
    """Train in ``root``; return the trainer, or None after a crash."""
    kgenre.seed_everything(11)
    callbacks = [
        EarlyStopping("val/loss", patience=50),
        ReduceLROnPlateau("val/loss", factor=0.5, patience=1, min_delta=0.2),
        LearningRateMonitor(None),
        *([WeightAveraging(average)] if average else []),
        ModelCheckpoint(**{"monitor": "val/loss", "save_top_k": 2, **checkpoint}),
    ]
    trainer = quiet_trainer(
        **{
            "max_epochs": EPOCHS,
            "logger": [CSVLogger(), TensorBoardLogger()],
            "log_every_n_steps": 2,
            "num_sanity_val_steps": 1,
            "enable_checkpointing": True,
            "default_root_dir": root,
            "callbacks": [*callbacks, *([stop] if stop else [])],
            **arguments,
        }
    )
    given = films() if films else (module(), data(), boring_batches(2, seed=9))
    try:
        trainer.fit(*given, ckpt_path=ckpt_path)
    except CrashError:
        return None
    except SystemExit as end:
        if end.code != 143:
            raise
    return trainer


def facts(trainer):
    """Everything to compare between runs."""
    states = {callback.state_key: callback.state_dict() for callback in trainer.callbacks}
    states.pop("ThroughputMonitor")
    for key in states:
        states[key].pop("superfluous", None)
    return {
        "position": (trainer.current_epoch, trainer.batch_idx, trainer.global_step),
        "state": {name: array.tolist() for name, array in trainer.engine.state_dict().items()},
        "callbacks": states,
        "rows": rows(trainer.log_dir),
        "events": events(trainer.log_dir),
        "metrics": {n: v for n, v in trainer.callback_metrics.items() if not n.startswith("throughput")},
    }


def rows(folder):
    with (Path(folder) / "metrics.csv").open(newline="") as file:
        return [_without_times(row) for row in csv.DictReader(file)]


def events(folder):
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    found.Reload()
    read = {"scalars": lambda tensor: float(tensor.float_val[0])}
    return _without_times(
        {
            tag: [
                (event.step, read.get(found.SummaryMetadata(tag).plugin_data.plugin_name, _digest)(event.tensor_proto))
                for event in found.Tensors(tag)
            ]
            for tag in found.Tags()["tensors"]
            if not tag.startswith("_")  # the hparams session, and the graph, whose names contain Keras's counters
        }
    )


def _digest(tensor):
    """Hash a text, picture or distribution."""
    return hashlib.sha256(tensor.SerializeToString()).hexdigest()


def _without_times(values):
    """Throughput is never the same twice: keep only whether there is a value."""
    return {name: bool(value) if name.startswith("throughput") else value for name, value in values.items()}
