"""Variable names come from the structure of a module, never from Keras's process-wide counters."""

import keras
import numpy as np
from boring import BoringModule, boring_batches, quiet_trainer
from keras import layers

import kgenre
from kgenre.engines.named_variables import keras_layers, named_optimizer_variables, named_variables


class Branches(layers.Layer):
    def __init__(self):
        super().__init__()
        self.left = layers.Dense(2)
        self.right = layers.Dense(2)

    def call(self, x):
        return self.left(x) + self.right(x)


class Everything(BoringModule):
    def __init__(self):
        super().__init__()
        image = keras.Input((4,))
        hidden = layers.Dropout(0.5)(layers.Dense(3)(image))
        self.model = keras.Model(image, layers.Dense(2)(layers.BatchNormalization()(hidden)))
        self.heads = {"a": [Branches()], "b": layers.Dense(1)}
        self.metric = keras.metrics.MeanAbsoluteError()
        self.seed = keras.random.SeedGenerator(0)
        self.scale = keras.Variable(1.0)
        self.shared = self.heads["b"]
        self.inner = BoringModule()

    def training_step(self, batch, batch_idx):
        for head in (self.heads["a"][0], self.heads["b"]):
            head(batch["x"])
        return self.error(batch, training=True) * self.scale

    def configure_optimizers(self):
        return keras.optimizers.Adam(1e-3)


def test_names_follow_the_structure():
    layers.Dense(7).build((None, 1))  # advances Keras's own counters
    module = Everything()
    trainer = quiet_trainer()
    trainer.fit(module, boring_batches(1))
    names = list(named_variables(module))
    assert names == [
        "model.layers.1.kernel",
        "model.layers.1.bias",
        "model.layers.2.seeds.0.seed",
        "model.layers.3.gamma",
        "model.layers.3.beta",
        "model.layers.3.moving_mean",
        "model.layers.3.moving_variance",
        "model.layers.4.kernel",
        "model.layers.4.bias",
        "heads.a.0.left.kernel",
        "heads.a.0.left.bias",
        "heads.a.0.right.kernel",
        "heads.a.0.right.bias",
        "heads.b.kernel",
        "heads.b.bias",
        "metric.0",
        "metric.1",
        "seed.seed",
        "scale",
        "inner.model.layers.0.kernel",
        "inner.model.layers.0.bias",
    ]
    again = Everything()
    other = quiet_trainer()
    other.fit(again, boring_batches(1))
    assert list(other.engine.state_dict()) == list(trainer.engine.state_dict())


def test_slots_are_named_after_their_variable():
    trainer = quiet_trainer()

    class Adam(BoringModule):
        def configure_optimizers(self):
            return keras.optimizers.Adam(1e-3)

    module = Adam()
    trainer.fit(module, boring_batches(1))
    weights = ["model.layers.0.kernel", "model.layers.0.bias"]
    slots = [f"optimizers.0.{slot}.{name}" for slot in ("momentums", "velocities") for name in weights]
    state = trainer.engine.state_dict()
    assert {*weights, *slots, "optimizers.0.iterations", "optimizers.0.learning_rate"} == set(state)
    for slot in ("momentums", "velocities"):
        for name in weights:
            assert state[f"optimizers.0.{slot}.{name}"].shape == state[name].shape
            assert state[f"optimizers.0.{slot}.{name}"].any()


def test_every_variable_of_a_model_has_a_name():
    module = kgenre.Module()
    module.model = keras.Sequential(
        [keras.Input((5,)), layers.Embedding(7, 3), layers.Bidirectional(layers.LSTM(2, dropout=0.1)), layers.Dense(1)]
    )
    named = named_variables(module)
    assert {id(v) for v in module.model.variables} == {id(v) for v in named.values()}
    assert len(set(named)) == len(named)
    assert not any("_1" in name or "bidirectional" in name for name in named)


class Unnamed(layers.Layer):
    def build(self, shape):
        self.scale, self.shift = self.add_weight(), keras.Variable(0.0)
        self.mean = self.add_weight(trainable=False)

    def call(self, x):
        return x * self.scale + self.shift - self.mean


def test_weights_without_a_name():
    for _ in range(2):
        module = kgenre.Module()
        module.model = keras.Sequential([keras.Input((2,)), Unnamed()])
        names = [f"model.layers.0.variable{number}" for number in ("", ".2", ".3")]
        assert list(named_variables(module)) == names


def test_colliding_names_are_numbered():
    module = BoringModule()
    module.scales = {"a": {"b": keras.Variable(1.0)}, "a.b": keras.Variable(2.0)}
    assert list(named_variables(module))[2:] == ["scales.a.b", "scales.a.b.2"]


def test_a_network_that_is_a_hyperparameter_too():
    class Net(kgenre.Module):
        def __init__(self, backbone, head):
            self.save_hyperparameters()
            self.backbone = backbone

    network, head = (keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]) for _ in range(2))
    names = [name.partition(".layers")[0] for name in named_variables(Net(network, head))]
    assert names == ["backbone"] * 2 + ["_hparams.head"] * 2


def test_outermost_layers():
    module = Everything()
    assert keras_layers(module) == [module.model, module.heads["a"][0], module.heads["b"], module.inner.model]


def test_modules_that_refer_to_each_other():
    outer, inner = BoringModule(), BoringModule()
    outer.inner, inner.outer = inner, outer
    assert keras_layers(outer) == [outer.model, inner.model]
    assert [name.partition(".layers")[0] for name in named_variables(outer)] == ["model"] * 2 + ["inner.model"] * 2


def test_optimizer_without_slots():
    kernel, bias = keras.Variable([1.0]), keras.Variable(0.0)
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build([kernel, bias])
    named = named_optimizer_variables(optimizer, {"kernel": kernel, "bias": bias}, "optimizers.0")
    assert {name.rpartition(".")[2] for name in named} == {"iterations", "learning_rate"}
    assert named["optimizers.0.learning_rate"].numpy() == np.float32(0.1)
