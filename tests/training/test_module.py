"""`Module` and `DataModule` themselves: hyperparameters, error messages, copies; and `seed_everything`."""

import copy
import functools
import json
import pickle
import random
import re
import sys
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from boring import BoringModule, boring_batches, quiet_trainer, weights_of

import kgenre
from kgenre.loggers import InMemoryLogger
from kgenre.training.hyperparameters import changed_hyperparameters, class_and_hyperparameters


def test_save_hyperparameters():
    class Net(kgenre.Module):
        def __init__(self, width, depth=2, *layers, name="net", **rest):
            self.save_hyperparameters(ignore=["depth"])

    assert vars(Net(8, 3, "a", rate=0.1).hparams) == {"width": 8, "name": "net", "layers": ("a",), "rate": 0.1}


def test_save_hyperparameters_of_a_dataclass(tmp_path):
    @dataclass(eq=False)
    class Net(BoringModule):
        units: int = 2
        learning_rate: float = 0.1
        made: str = field(default="", init=False)
        depth: InitVar[int] = 1

        def __post_init__(self, depth):
            self.save_hyperparameters()
            self.model = keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(self.units) for _ in range(depth))])

    net, trainer = Net(learning_rate=0.05, depth=2), quiet_trainer()
    assert vars(net.hparams) == {"units": 2, "learning_rate": 0.05, "depth": 2}
    trainer.fit(net, boring_batches(1))
    loaded = Net.load_from_checkpoint(trainer.save_checkpoint(tmp_path / "checkpoint"))
    assert (loaded.learning_rate, len(loaded.model.layers)) == (0.05, 2)


def test_hyperparameters_in_a_checkpoint_are_plain_values():
    class Net(kgenre.Module):
        def __init__(self, model=None, mode="min", sizes=(), folder=".", costs=None, edges=None):
            self.save_hyperparameters(ignore="model")

    net = Net(
        "left out",
        sizes=[np.int64(3), {"rate": np.float32(0.5)}],
        folder=Path("films"),
        costs={np.int64(1): 0.5, Path("a"): 2.0},
        edges={(0, 1): 0.5},  # JSON has no such keys: left out
    )
    kept = class_and_hyperparameters(net)["hyperparameters"]
    assert kept == {
        "mode": "min",
        "sizes": [3, {"rate": 0.5}],
        "folder": "films",
        "costs": {1: 0.5, "a": 2.0},
    }
    assert json.loads(json.dumps(kept))["costs"] == {"1": 0.5, "a": 2.0}
    assert changed_hyperparameters(net, json.loads(json.dumps(class_and_hyperparameters(net)))) == {}


def test_hyperparameters_that_are_not_logged():
    class Base(BoringModule):
        def __init__(self, path="secret", units=2):
            self.save_hyperparameters(logger=False)
            super().__init__(units=units)

    class Net(Base):
        def __init__(self, rate=0.1, **arguments):
            self.save_hyperparameters("rate")
            super().__init__(**arguments)

    net, logger = Net(), InMemoryLogger()
    assert vars(net.hparams) == {"rate": 0.1, "path": "secret", "units": 2, "learning_rate": 0.1, "dropout": 0.0}
    quiet_trainer(logger=logger).fit(net, boring_batches(1))
    assert logger.hyperparams == {"model": {"rate": 0.1, "learning_rate": 0.1, "dropout": 0.0}}
    record = class_and_hyperparameters(net)
    assert record["hyperparameters"]["path"] == "secret"
    assert "arguments" not in record


def test_nothing_is_kept_that_nobody_saves():
    class Net(kgenre.Module):
        def __init__(self, password):
            pass

    assert class_and_hyperparameters(Net("secret"))["hyperparameters"] == {}
    assert "arguments" not in class_and_hyperparameters(Net("secret"))


def test_save_hyperparameters_by_name():
    class Net(kgenre.Module):
        def __init__(self, width, depth=2):
            self.save_hyperparameters("width")

    assert vars(Net(8).hparams) == {"width": 8}

    class Wrong(kgenre.DataModule):
        def __init__(self, width):
            self.save_hyperparameters("height")

    with pytest.raises(TypeError, match=r"'height'\): Wrong.__init__ has no such argument. It has: width"):
        Wrong(1)

    with pytest.raises(TypeError, match=r"names of arguments. Received: \{'a': 1\}.*, Wrong\(\*\*vars\(args\)\)"):
        type("Wrong", (kgenre.Module,), {"__init__": lambda self, args: self.save_hyperparameters(args)})({"a": 1})


def test_hyperparameters_are_a_dict_with_attributes():
    class Net(kgenre.Module):
        def __init__(self, width=8):
            self.save_hyperparameters()

    hparams = copy.deepcopy(Net(width=3)).hparams
    assert hparams["width"] == hparams.width == 3
    hparams.width = 4
    assert {**hparams} == vars(hparams) == {"width": 4}
    assert Net(**hparams).hparams == hparams
    assert pickle.loads(pickle.dumps(hparams)).width == 4
    with pytest.raises(AttributeError, match=r"no hyperparameter 'depth'. Available: width"):
        _ = hparams.depth


@pytest.mark.parametrize("base", [kgenre.Module, kgenre.DataModule])
def test_self_is_not_a_hyperparameter_under_any_name(base):
    class Net(base):
        def __init__(this, width=8):
            this.save_hyperparameters()

    assert vars(Net().hparams) == {"width": 8}


def typechecked(function):
    """Stands for a decorator of a package that checks arguments."""

    @functools.wraps(function)
    def checked(*arguments, **named):
        return function(*arguments, **named)

    return checked


@pytest.mark.parametrize("base_first", [False, True])
@pytest.mark.parametrize("middle_saves", [False, True])
@pytest.mark.parametrize("decorated", [lambda function: function, typechecked], ids=["plain", "decorated"])
def test_subclass_hyperparameters_override_the_base(base_first, middle_saves, decorated):
    class Base(kgenre.Module):
        @decorated
        def __init__(self, width=1, colour="red"):
            self.save_hyperparameters()

    class Middle(Base):
        def __init__(self, width=3):
            super().__init__(width=width * 2)
            if middle_saves:
                self.save_hyperparameters()

    class Sub(Middle):
        def __init__(self, width=5):
            if base_first:
                super().__init__()
            self.save_hyperparameters()
            if not base_first:
                super().__init__()

    assert vars(Sub().hparams) == {"width": 5, "colour": "red"}
    assert Middle().hparams.width == (3 if middle_saves else 6)


class Scaled(BoringModule):
    """Saves none of its arguments, of which one is not its base's and one is changed for it."""

    def __init__(self, units=3, scale=1.0, network=None, **arguments):
        super().__init__(units=2 * units, dropout=0.0, **arguments)
        self.scale = scale


def test_arguments_of_a_subclass_that_saves_none_are_in_checkpoints(tmp_path):
    module = Scaled(units=1, scale=np.float32(0.5), network=keras.layers.Dense(1), learning_rate=0.25)
    assert (module.hparams.units, "scale" in module.hparams) == (2, False), "what the base got"
    trainer = quiet_trainer()
    trainer.fit(module, boring_batches(1))
    trainer.save_checkpoint(tmp_path / "saved")
    loaded = Scaled.load_from_checkpoint(tmp_path / "saved")
    assert (loaded.scale, loaded.learning_rate, loaded.model.output_shape) == (0.5, 0.25, (None, 2))
    assert BoringModule.load_from_checkpoint(tmp_path / "saved").model.output_shape == (None, 2)
    assert class_and_hyperparameters(module)["not_kept"] == ["network"]


def test_arguments_of_the_most_derived_class_are_in_checkpoints():
    class Below(Scaled):
        def __init__(self, *factors, scale=4.0):
            super().__init__(scale=scale * factors[0], learning_rate=0.5)
            self.inside = BoringModule(units=1)  # has its own

    class Chosen(Scaled):
        def __init__(self, units=4, secret="s", base_first=True):
            if base_first:
                super().__init__(units=2 * units)
            self.save_hyperparameters(ignore="secret")
            if not base_first:
                super().__init__(units=2 * units)

    assert class_and_hyperparameters(Below(2.0))["arguments"] == {"factors": [2.0], "scale": 4.0}
    for first in (True, False):
        assert class_and_hyperparameters(Chosen(base_first=first))["arguments"] == {"units": 4, "base_first": first}


@pytest.mark.parametrize("saves", [True, False])
def test_hyperparameters_that_were_set_are_in_checkpoints_of_a_subclass(saves):
    """As a search for a learning rate or batch size sets them."""

    class Inherits(BoringModule):
        pass

    class Passes(BoringModule):
        def __init__(self, scale=2.0, **arguments):
            super().__init__(**arguments)
            if saves:
                self.save_hyperparameters()

    for module, others in ((Inherits(units=3), {}), (Passes(units=3, learning_rate=0.2), {"scale": 2.0})):
        module.hparams.learning_rate = 0.5
        record = class_and_hyperparameters(module)
        kept = record.get("arguments", record["hyperparameters"])
        assert {"learning_rate": 0.5, "units": 3, **others}.items() <= kept.items()


def test_what_a_base_sets_in_hparams_stays():
    class Named(kgenre.Module):
        def __init__(self, network=None):
            self.save_hyperparameters()
            self.hparams.network = "by name"

    class Saving(Named):
        def __init__(self, network=None):
            super().__init__(network)
            self.save_hyperparameters()

    class Silent(Named):
        def __init__(self, network=None):
            super().__init__(network)

    for module in (Named(len), Saving(len), Silent(len)):
        assert module.hparams.network == "by name"
        assert class_and_hyperparameters(module)["hyperparameters"] == {"network": "by name"}
        assert "arguments" not in class_and_hyperparameters(module), "they are the same"


def test_module_without_a_trainer():
    module = BoringModule()
    assert (module.current_epoch, module.global_step, module.logger, module.loggers) == (0, 0, None, [])
    with pytest.raises(RuntimeError, match=r"BoringModule\.trainer needs a Trainer"):
        _ = module.trainer


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("optimizers", "self.trainer.learning_rates()"),
        ("manual_backward", "the loss that training_step returns"),
        ("device", "leave it out"),
        ("parameters", "keras.optimizers.Adam(1e-3)"),
        ("eval", "self.model(x, training=True)"),
        ("children", "self.model.layers"),
        ("half", "Trainer(precision=...)"),
        ("to_onnx", "self.model.export"),
        ("requires_grad_", "self.freeze()"),
    ],
)
def test_lightning_names_suggest_a_replacement(name, instead):
    module = BoringModule()
    with pytest.raises(AttributeError, match=rf"^BoringModule has no attribute '{name}': .*{re.escape(instead)}"):
        getattr(module, name)
    assert not hasattr(module, name)
    setattr(module, name, "mine")
    assert getattr(module, name) == "mine"


def test_other_missing_names_raise_pythons_error():
    class Nested(BoringModule):
        @property
        def device(self):
            return self.modle.device

    with pytest.raises(AttributeError, match=r"^'Nested' object has no attribute 'modle'$"):
        _ = Nested().device


@pytest.mark.parametrize("method", ["training_step", "validation_step", "test_step", "predict_step"])
def test_missing_methods_raise_not_implemented(method):
    with pytest.raises(NotImplementedError, match=rf"Module must define {method}\(self, batch, batch_idx\)"):
        getattr(kgenre.Module(), method)(None, 0)
    with pytest.raises(NotImplementedError, match=r"Module must define configure_optimizers\(self\)") as caught:
        kgenre.Module().configure_optimizers()
    line, message = caught.value._render_traceback_()  # in a notebook
    assert line.endswith("(kgenre.Module().configure_optimizers())")
    assert message == f"MissingMethodError: {caught.value}"


def test_freeze_and_unfreeze():
    module = BoringModule()
    module.freeze()
    assert module.model.trainable_variables == []
    module.unfreeze()
    assert len(module.model.trainable_variables) == 2


def test_configure_model_runs_after_setup_and_before_loading(tmp_path):
    class Data(kgenre.DataModule):
        units = None

        def setup(self, stage):
            self.units = self.units or 3

        def train_dataloader(self):
            return boring_batches(1, units=3)

        def state_dict(self):
            return {"units": self.units}

        def load_state_dict(self, state):
            self.units = state["units"]

    class Late(BoringModule):
        def __init__(self):
            self.learning_rate = 0.1
            self.units = None

        def configure_model(self):
            self.units = self.units or self.trainer.datamodule.units
            self.model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(self.units)])

        def on_save_checkpoint(self, checkpoint):
            checkpoint["units"] = self.units

        def on_load_checkpoint(self, checkpoint):
            self.units = checkpoint["units"]

    module, trainer = Late(), quiet_trainer()
    trainer.fit(module, Data())
    path = trainer.save_checkpoint(tmp_path / "checkpoint")
    loaded = Late.load_from_checkpoint(path)
    for name, array in weights_of(module).items():
        np.testing.assert_array_equal(weights_of(loaded)[name], array)


class Forgets(BoringModule):
    def __init__(self):
        self.learning_rate = 0.1

    def configure_model(self):
        self.model = BoringModule().model


def test_configure_model_that_recreates_the_network_is_reported(tmp_path, caplog):
    module, trainer, batches = Forgets(), quiet_trainer(), boring_batches(1)
    trainer.fit(module, batches)
    loss = trainer.test(module, batches, ckpt_path=(path := trainer.save_checkpoint(tmp_path / "saved")), verbose=False)
    assert loss == quiet_trainer().test(Forgets(), batches, ckpt_path=path, verbose=False)
    for forgets in (module, Forgets.load_from_checkpoint(path)):
        with pytest.raises(kgenre.TrainerError, match=r"Forgets\.configure_model created a new network, so"):
            quiet_trainer().test(forgets, batches, verbose=False)
    assert "created a new network" not in caplog.text
    quiet_trainer().fit(module, batches)
    assert "Forgets.configure_model created a new network" in caplog.text


def test_seed_everything_repeats_random_numbers():
    def weights(seed):
        kgenre.seed_everything(seed)
        layer = keras.layers.Dense(3)
        layer.build((None, 2))
        return keras.ops.convert_to_numpy(layer.kernel).tolist(), np.random.random()

    assert weights(1) == weights(1)
    assert weights(1) != weights(2)


@pytest.mark.parametrize("wrong", [-1, 2**32, 1.5, "3", None])
def test_invalid_seed_is_rejected_before_anything_is_set(wrong):
    kgenre.seed_everything(3)
    before = random.getstate()
    with pytest.raises(ValueError, match=f"takes a whole number( from 0 to 4294967295)?. Received: {wrong!r}"):
        kgenre.seed_everything(wrong)
    assert random.getstate() == before


def test_numpy_integer_is_a_valid_seed():
    seed = kgenre.seed_everything(np.int64(3))
    assert (seed, type(seed)) == (3, int)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="it is always imported")
def test_seed_everything_seeds_torch_only_if_imported(monkeypatch):
    """Under any backend, a torch DataLoader draws its order from torch's generator."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    kgenre.seed_everything(3)
    assert "torch" not in sys.modules
    seeds = []
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(manual_seed=seeds.append))
    kgenre.seed_everything(3)
    assert seeds == [3]


def test_copies_and_pickles_of_a_module_drop_the_trainer():
    module = BoringModule()
    module.seeds = [keras.random.SeedGenerator(3)] * 2
    keras.random.normal((), seed=module.seeds[0])
    trainer = quiet_trainer()
    trainer.fit(module, boring_batches(1))
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert other._trainer is None
        np.testing.assert_array_equal(
            weights_of(other)["model.layers.0.kernel"], weights_of(module)["model.layers.0.kernel"]
        )
        assert weights_of(other)["seeds.0.seed"].tolist() == weights_of(module)["seeds.0.seed"].tolist() == [3, 1]
        assert other.seeds[0] is other.seeds[1] is not module.seeds[0]
        quiet_trainer().fit(other, boring_batches(1))
        assert not np.array_equal(
            weights_of(other)["model.layers.0.kernel"], weights_of(module)["model.layers.0.kernel"]
        )
    assert module.trainer is trainer
