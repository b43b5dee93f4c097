"""Random training setups: combinations of features that are also tested one by one, the same for the same seed."""

import importlib.util
import random
from pathlib import Path

import keras
import numpy as np
from boring import BoringModule, boring_batches, quiet_trainer
from keras import layers, ops

import kgenre
from kgenre.callbacks import (
    BackboneFinetuning,
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateMonitor,
    ModelCheckpoint,
    ReduceLROnPlateau,
    ThroughputMonitor,
    WeightAveraging,
)
from kgenre.loggers import CSVLogger

_spec = importlib.util.spec_from_file_location("stopped_run", Path(__file__).with_name("stopped_run.py"))
stopped_run = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(stopped_run)

ROWS, BATCHES, EPOCHS = 8, 5, 3


class Drawn(BoringModule):
    """A small network in two parts, with the features in ``has``; its random numbers and counters are saved state."""

    def __init__(self, has, optimizers):
        self.has, self.optimizers = has, optimizers
        seeded = keras.initializers.GlorotUniform
        normal = layers.Normalization()
        if "normalization" in has:
            normal.adapt(boring_batches(1)[0]["x"])
        inside = [
            *([normal] if "normalization" in has else []),
            *([layers.Dropout(0.3, seed=1)] if "dropout" in has else []),
            layers.Dense(3, kernel_initializer=seeded(2), kernel_regularizer="l2" if "regularizer" in has else None),
            *([layers.BatchNormalization()] if "batch norm" in has else []),
        ]
        self.backbone = keras.Sequential([keras.Input((4,)), *inside])
        self.head = keras.Sequential([keras.Input((3,)), layers.Dense(2, kernel_initializer=seeded(4))])
        self.noise, self.metric = keras.random.SeedGenerator(5), keras.metrics.MeanSquaredError()

    def training_step(self, batch, batch_idx):
        x, y = batch["x"], batch["y"]
        if "noise" in self.has:
            x = x + 0.1 * keras.random.normal(ops.shape(x), seed=self.noise)
        predicted = self.head(self.backbone(x, training=True))
        loss = ops.mean((predicted - y) ** 2)
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        if "metric" in self.has:
            self.metric.update_state(y, predicted)
            self.log("train/metric", self.metric)
            self.log("train/most", loss, on_epoch=True, on_step=False, reduce_fx="max")
        return {"loss": loss, "predicted": predicted} if "dict" in self.has else loss

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", ops.mean((self.head(self.backbone(batch["x"])) - batch["y"]) ** 2))

    def on_train_epoch_start(self):
        if "assignment" in self.has and self.trainer.batch_idx == 0:
            kernel = self.head.layers[0].kernel
            kernel.assign(kernel.value * 0.9)

    def on_train_epoch_end(self):
        if "hook log" in self.has and self.trainer.epoch_is_done:
            self.log("hook/random", float(np.random.random()))

    def configure_gradients(self, gradients):
        if "gradients" not in self.has:
            return gradients
        self.log("gradient", sum(ops.sum(ops.square(gradient)) for gradient in gradients.values()))
        return {name: 0.5 * gradient for name, gradient in gradients.items()}

    def configure_optimizers(self):
        first, *more = [_optimizer(*drawn) for drawn in self.optimizers]
        return {"backbone.*": first, ".*": more[0]} if more else first


HAS = ["normalization", "dropout", "regularizer", "batch norm", "noise", "metric", "dict", "assignment", "hook log"]
HAS += ["gradients"]


def _optimizer(kind, options, scheduler):
    rate = 0.02
    schedule = keras.optimizers.schedules.ExponentialDecay(rate, 4, 0.8)
    optimizer = getattr(keras.optimizers, kind)(schedule if scheduler == "schedule" else rate, **options)
    scheduled = {
        "function": lambda epoch, rate: rate * 0.9,
        "steps": {"scheduler": lambda step, rate: rate * 0.97, "interval": "step", "frequency": 2},
        "plateau": ReduceLROnPlateau(factor=0.5, patience=1, min_delta=0.1),
    }
    return {"optimizer": optimizer, "lr_scheduler": scheduled[scheduler]} if scheduler in scheduled else optimizer


class Setup:
    """A random setup: the Trainer's flags, and factories for objects that two runs must not share."""

    def __init__(self, seed):
        chance = self.chance = random.Random(f"set-up {seed}")
        some = lambda *of: chance.choice(of)  # noqa: E731
        self.has = [name for name in HAS if chance.random() < 0.35]
        finetunes = chance.random() < 0.25
        self.optimizers = [
            (
                some("SGD", "Adam", "AdamW", "Lion", "Adafactor", "RMSprop", "Nadam"),
                some({}, {}, {"clipnorm": 0.5}, {"global_clipnorm": 0.5}, {"clipvalue": 0.1}, {"weight_decay": 0.02}),
                None if finetunes else some(None, None, "schedule", "function", "steps", "plateau"),
            )
            for _ in range(2 if finetunes else some(1, 1, 2))
        ]
        self.rows = ROWS * BATCHES - some(0, 3)
        self.source = some("shuffled", "list", "factory", "tf.data")
        accumulates = some(1, 1, 2, 3, "scheduled")
        self.flags = {
            "max_epochs": EPOCHS,
            "accumulate_grad_batches": 1 if accumulates == "scheduled" else accumulates,
            "steps_per_execution": some(1, 1, 3),
            "log_every_n_steps": some(1, 2, 5),
            "num_sanity_val_steps": some(0, 1),
            **some({}, {}, {"gradient_clip_val": 0.3}, {"gradient_clip_val": 0.1, "gradient_clip_algorithm": "value"}),
            **some({}, {"val_check_interval": 2}, {"check_val_every_n_epoch": 2}),
        }
        if self.source != "factory":
            self.flags |= some({}, {}, {"limit_train_batches": 0.8})
        if chance.random() < 0.3:
            self.flags |= {"val_check_interval": 7, "check_val_every_n_epoch": None}
        average = some(None, None, {"decay": 0.7}, {"decay": None, "update_starting_at_epoch": 1})
        self.callbacks = lambda: [
            *([WeightAveraging(**average)] if average else []),
            *([BackboneFinetuning(1, train_bn=len(self.has) % 2 == 0)] if finetunes else []),
            *([GradientAccumulationScheduler({0: 2, 1: 3})] if accumulates == "scheduled" else []),
            EarlyStopping("val/loss", patience=2, min_delta=0.01),
            LearningRateMonitor(None),
        ]

    def batches(self):
        (arrays,) = boring_batches(1, rows=self.rows, seed=3)
        whole = kgenre.ArrayDataset(arrays, batch_size=ROWS, shuffle=self.source == "shuffled")
        if self.source == "tf.data":
            import tensorflow as tf

            return tf.data.Dataset.from_tensor_slices(arrays).batch(ROWS)
        return {"shuffled": whole, "list": list(whole), "factory": Factory(whole)}[self.source]

    def fit(self, root, checkpoint, ckpt_path=None, more=(), batches=None):
        """Train in ``root`` and return the trainer, even after a crash."""
        kgenre.seed_everything(11)
        trainer = quiet_trainer(
            default_root_dir=root,
            logger=CSVLogger(),
            enable_checkpointing=True,
            callbacks=[*self.callbacks(), *more, ModelCheckpoint(**checkpoint)],
            **self.flags,
        )
        given = Drawn(self.has, self.optimizers), batches or self.batches(), boring_batches(2, seed=9)
        try:
            trainer.fit(*given, ckpt_path=ckpt_path)
        except stopped_run.CrashError:
            pass
        except SystemExit as end:
            if end.code != 143:
                raise
        return trainer


class Factory:
    """Batches without a length."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


def facts(trainer):
    """Everything to compare between runs, except throughput and what depends on how often they save."""
    monitors = (ModelCheckpoint, ThroughputMonitor)
    return {
        "position": (trainer.current_epoch, trainer.batch_idx, trainer.global_step),
        "state": {name: array.tolist() for name, array in trainer.engine.state_dict().items()},
        "callbacks": {c.state_key: c.state_dict() for c in trainer.callbacks if not isinstance(c, monitors)},
        "rates": trainer.learning_rates(),
        "rows": stopped_run.rows(trainer.log_dir),
        "metrics": {n: v for n, v in trainer.callback_metrics.items() if not n.startswith("throughput")},
    }
