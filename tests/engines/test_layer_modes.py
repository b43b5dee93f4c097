"""Layers called without ``training``: Lightning would switch dropout and BatchNormalization on, Keras does not."""

import threading
import warnings

import keras
import pytest
from boring import BoringModule, boring_batches, quiet_trainer
from keras import layers, ops

import kgenre

INPUT = keras.Input((4,))


class Block(layers.Layer):
    """Written as is common: ``training`` is False by default and passed on."""

    def __init__(self):
        super().__init__()
        self.drop, self.out = layers.Dropout(0.5, seed=1), layers.Dense(2)

    def call(self, x, training=False):
        return self.out(self.drop(x, training=training))


NETWORKS = {
    "Dropout": lambda: keras.Sequential([layers.Dropout(0.5, seed=1), layers.Dense(2)]),
    "BatchNormalization": lambda: keras.Sequential([layers.BatchNormalization(), layers.Dense(2)]),
    "LSTM": lambda: keras.Sequential([layers.Reshape((2, 2)), layers.LSTM(2, dropout=0.5, seed=1)]),
    "Dropout in a layer": Block,
}
AT_REST = {
    "no rate": lambda: keras.Sequential([layers.Dropout(0.0), layers.Dense(2)]),
    "frozen": lambda: keras.Sequential([layers.BatchNormalization(trainable=False), layers.Dense(2)]),
    "always on": lambda: keras.Model(INPUT, layers.Dense(2)(layers.Dropout(0.5, seed=1)(INPUT, training=True))),
}


class Net(kgenre.Module):
    error, configure_optimizers = BoringModule.error, BoringModule.configure_optimizers
    learning_rate = 0.1

    def __init__(self, network, **said):
        self.network, self.said = network(), said

    def model(self, x, training):
        return self.network(x, **self.said)

    def training_step(self, batch, batch_idx):
        return self.error(batch)

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.error(batch))


def fit(module):
    call = keras.Layer.__call__
    quiet_trainer().fit(module, boring_batches(1), boring_batches(1))
    assert keras.Layer.__call__ is call


@pytest.mark.parametrize("name", NETWORKS)
def test_layer_called_without_training_warns(name):
    with pytest.warns(UserWarning, match=rf"training_step calls the {name.split()[0]} '\w+' without training=True"):
        fit(Net(NETWORKS[name]))


@pytest.mark.parametrize(("name", "training"), [("Dropout", True), ("LSTM", False), ("Dropout in a layer", False)])
def test_layer_called_with_training_does_not_warn(name, training):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="training_step calls")
        fit(Net(NETWORKS[name], training=training))


@pytest.mark.parametrize("name", AT_REST)
def test_layer_that_training_does_not_affect_does_not_warn(name):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="training_step calls")
        fit(Net(AT_REST[name]))


def test_additional_call_for_a_metric_does_not_warn():
    class Scored(Net):
        def training_step(self, batch, batch_idx):
            self.log("train/score", ops.mean(self.network(batch["x"])))
            return ops.mean((self.network(batch["x"], training=True) - batch["y"]) ** 2)

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="training_step calls")
        fit(Scored(NETWORKS["Dropout in a layer"]))


def test_call_for_an_evaluation_does_not_excuse_one_without_training():
    class Compared(Net):
        def training_step(self, batch, batch_idx):
            steady = self.network(batch["x"], training=False)
            return ops.mean((self.network(batch["x"]) - steady) ** 2) + self.error(batch)

    with pytest.warns(UserWarning, match=r"training_step calls the Dropout '\w+' without training=True"):
        fit(Compared(NETWORKS["Dropout"]))


AUGMENTS = {
    "RandomBrightness": lambda: keras.Sequential([layers.RandomBrightness(0.5, seed=1), layers.Dense(2)]),
    "Pipeline": lambda: keras.Sequential([layers.Pipeline([layers.RandomContrast(0.5, seed=1)]), layers.Dense(2)]),
}


class Pictures(Net):
    def error(self, batch, **said):
        return ops.mean(self.network(ops.reshape(batch["x"], (-1, 2, 2, 1)), **said) ** 2)

    def training_step(self, batch, batch_idx):
        return self.error(batch, training=True)

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.error(batch, **self.said))


@pytest.mark.parametrize("name", AUGMENTS)
def test_augmentation_in_an_evaluation_warns(name):
    with pytest.warns(UserWarning, match=rf"validation_step calls the {name} '\w+' without training=False"):
        fit(Pictures(AUGMENTS[name]))


@pytest.mark.parametrize(("name", "said"), [("RandomBrightness", {"training": False}), ("resizing", {})])
def test_disabled_or_deterministic_layer_does_not_warn(name, said):
    networks = AUGMENTS | {"resizing": lambda: keras.Sequential([layers.Resizing(2, 2), layers.Dense(2)])}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="validation_step calls")
        fit(Pictures(networks[name], **said))


class Augmenting(Pictures):
    """Its steps call the layer themselves, not a model that contains it."""

    def __init__(self, **said):
        super().__init__(lambda: keras.Sequential([layers.Dense(2)]), **said)
        self.augment = layers.RandomBrightness(0.5, seed=1)

    def error(self, batch, **said):
        return ops.mean(self.network(self.augment(ops.reshape(batch["x"], (-1, 2, 2, 1)), **said)) ** 2)


def test_augmentation_that_the_step_itself_calls():
    with pytest.warns(UserWarning, match=r"validation_step calls the RandomBrightness '\w+' without training=False"):
        fit(Augmenting())
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="validation_step calls")
        fit(Augmenting(training=False))


def test_two_threads_leave_keras_as_it_was():
    """One thread begins to watch a step while another does, and ends later."""
    original = keras.Layer.__call__
    began, first_is_over = threading.Event(), threading.Event()

    class Second(BoringModule):
        def training_step(self, batch, batch_idx):
            began.set()
            first_is_over.wait(10)
            return self.error(batch)

    thread = threading.Thread(target=lambda: quiet_trainer().fit(Second(), boring_batches(1)))

    class First(BoringModule):
        def training_step(self, batch, batch_idx):
            if not thread.ident:
                thread.start()
                began.wait(0.5)
            return self.error(batch)

    quiet_trainer().fit(First(), boring_batches(1))
    first_is_over.set()
    thread.join()
    assert keras.Layer.__call__ is original
