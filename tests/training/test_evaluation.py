"""``validate``, ``test`` and ``predict``, on their own and after a fit."""

import logging
import sys
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, quiet_trainer, traces, weights_of
from keras import ops

import kgenre
from kgenre import TrainerError
from kgenre.callbacks import ModelCheckpoint
from kgenre.checkpoints import CheckpointError, read_checkpoint
from kgenre.loggers import CSVLogger

pytestmark = pytest.mark.usefixtures("in_tmp_path")


def mean_error(module, batches):
    kernel, bias = weights_of(module).values()
    return np.mean([np.mean((b["x"] @ kernel + bias - b["y"]) ** 2) for b in batches])


@pytest.mark.parametrize(("stage", "name"), [("validate", "val/loss"), ("test", "test/loss")])
def test_results_are_a_list_with_one_dict(stage, name):
    module, batches = BoringModule(), boring_batches(3)
    trainer = quiet_trainer()
    results = getattr(trainer, stage)(module, batches, verbose=False)
    assert results == [{name: pytest.approx(mean_error(module, batches), rel=1e-5)}]
    assert trainer.callback_metrics == results[0]


def test_a_prediction_refused_in_a_hook_changes_nothing():
    def nested(trainer, module):
        with pytest.raises(TrainerError, match=r"called in a hook of trainer\.predict"):
            trainer.predict(module, boring_batches(1), return_predictions=False)

    trainer = quiet_trainer(callbacks=Lambdas(on_predict_start=nested))
    assert len(trainer.predict(BoringModule(), boring_batches(2))) == 2


def test_verbose_prints_a_table(capsys):
    quiet_trainer().test(BoringModule(), boring_batches(1))
    printed = capsys.readouterr().out
    assert "test" in printed
    assert "loss" in printed
    quiet_trainer().test(BoringModule(), boring_batches(1), verbose=False)
    assert capsys.readouterr().out == ""


def test_engine_of_the_fit_is_reused():
    module, batches = BoringModule(), boring_batches(3)
    module.configure_optimizers = lambda: keras.optimizers.Adam()
    trainer = quiet_trainer(max_steps=2, accumulate_grad_batches=2)
    trainer.fit(module, batches, batches)
    engine = trainer.engine
    before = trainer.dump_checkpoint().copy()
    assert trainer.test(dataloaders=batches, verbose=False)[0]["test/loss"] == pytest.approx(
        mean_error(module, batches), rel=1e-5
    )
    assert trainer.validate(dataloaders=batches, verbose=False)[0].keys() == {"val/loss"}
    assert trainer.engine is engine
    after = trainer.dump_checkpoint()
    for kind in ("weights", "optimizer", "epoch"):
        kept, found = getattr(before, kind), getattr(after, kind)
        assert kept.keys() == found.keys()
        for name in kept:
            np.testing.assert_array_equal(kept[name], found[name])
    # Training with and without an update; the fit's validation, and that of `validate`.
    assert [engine.traces[stage] for stage in ("train", "validation", "test")] == [traces(n) for n in (2, 2, 1)]


def test_another_module_than_that_of_the_fit():
    batches, trainer = boring_batches(3), quiet_trainer()
    trainer.fit(BoringModule(), batches)
    (found,) = trainer.validate(other := BoringModule(), batches, verbose=False)
    assert found["val/loss"] == pytest.approx(mean_error(other, batches), rel=1e-5)


def test_checkpoint_of_another_run_is_logged(caplog):
    module, batches = BoringModule(), boring_batches(2)
    trainer = quiet_trainer(enable_checkpointing=True)
    trainer.fit(module, batches, batches)
    caplog.clear()
    caplog.set_level(logging.WARNING)  # the level shown if the user configures no logging
    trainer.test(dataloaders=batches, ckpt_path="best", verbose=False)
    assert not caplog.messages
    quiet_trainer().test(BoringModule(), batches, ckpt_path="best", verbose=False)
    assert caplog.messages == [f"Checkpoint: {trainer.log_dir}/checkpoints/step=000002"]


@pytest.mark.parametrize("modules_own", [False, True])
def test_without_a_module_the_best_checkpoint_is_evaluated(modules_own):
    class Worsens(BoringModule):
        def on_validation_epoch_end(self):
            self.log("val/score", float(self.current_epoch))

        def configure_callbacks(self):
            return [ModelCheckpoint("val/score")] if modules_own else []

    batches, given = boring_batches(2), [] if modules_own else [ModelCheckpoint("val/score")]
    trainer = quiet_trainer(max_epochs=2, callbacks=given, enable_checkpointing=True)
    trainer.fit(Worsens(), batches, batches)
    trainer.test(trainer.module, batches, verbose=False)
    assert (trainer.ckpt_path, trainer.global_step) == (None, 4)
    trainer.test(dataloaders=batches, verbose=False)
    assert (trainer.ckpt_path, trainer.global_step) == (trainer.run_dir / "checkpoints" / "step=000002", 2)
    assert trainer.checkpoint_callback.best_model_path == trainer.ckpt_path


def test_a_checkpoint_after_an_evaluation_of_other_weights_has_no_optimizer_state():
    """It would be that of the fit's newest weights, with which a resumed run would go on from older ones."""
    batches, trainer = boring_batches(2), quiet_trainer(enable_checkpointing=True)
    trainer.fit(module := BoringModule(), batches, batches)
    trainer.test(module, batches, verbose=False)
    assert read_checkpoint(trainer.save_checkpoint("same")).optimizer
    trainer.test(module, batches, ckpt_path="best", verbose=False)
    path = trainer.save_checkpoint("loaded")
    assert not read_checkpoint(path).optimizer
    with pytest.raises(CheckpointError, match="holds weights only"):
        trainer.fit(module, batches, batches, ckpt_path=path)
    trainer.fit(module, batches, batches)
    assert read_checkpoint(trainer.save_checkpoint("same")).optimizer


def test_best_and_last_are_those_of_the_last_fit():
    """Whatever was evaluated since."""
    batches, module = boring_batches(2), BoringModule()
    earlier = quiet_trainer(enable_checkpointing=True, name="earlier")
    earlier.fit(BoringModule(), batches, batches)
    trainer = quiet_trainer(enable_checkpointing=True, max_epochs=2)
    trainer.fit(module, batches, batches)
    run, best = trainer.run_dir, trainer.checkpoint_callback.best_model_path
    trainer.test(module, batches, ckpt_path=earlier.run_dir, verbose=False)
    assert (trainer.run_dir, trainer.global_step) == (earlier.run_dir, 2)
    for arguments in ({"model": module, "ckpt_path": "best"}, {"model": module, "ckpt_path": "last"}, {}):
        trainer.test(module, batches, ckpt_path=earlier.run_dir, verbose=False)
        trainer.test(dataloaders=batches, verbose=False, **arguments)
        assert (trainer.run_dir, trainer.ckpt_path) == (run, best)
    trainer.test(module, batches, ckpt_path=earlier.run_dir, verbose=False)
    trainer.max_epochs = 3
    trainer.fit(module, batches, batches, ckpt_path="best")
    assert (trainer.run_dir, trainer.ckpt_path) == (run, best)


@pytest.mark.parametrize("name", ["best", "last"])
def test_a_fit_that_fails_at_once_has_no_checkpoints(name):
    class Fails(BoringModule):
        def training_step(self, batch, batch_idx):
            raise ZeroDivisionError

    batches, trainer = boring_batches(2), quiet_trainer(enable_checkpointing=True)
    trainer.fit(BoringModule(), batches, batches)
    trainer.test(dataloaders=batches, ckpt_path=name, verbose=False)
    written = (trainer.run_dir / "metrics.json").read_bytes()
    with pytest.raises(ZeroDivisionError):
        trainer.fit(module := Fails(), batches, batches)
    with pytest.raises(CheckpointError, match=rf"^ckpt_path='{name}': no {name} checkpoint of this trainer's last fit"):
        trainer.test(module, batches, ckpt_path=name, verbose=False)
    trainer.test(module, batches, verbose=False)
    assert trainer.run_dir is None
    assert Path("runs/boring_module/version_0/metrics.json").read_bytes() == written


def test_results_of_another_module_are_not_written_to_the_run():
    batches, trainer = boring_batches(2), quiet_trainer(logger=CSVLogger(), enable_checkpointing=True)
    trainer.fit(module := BoringModule(), batches, batches)
    run = trainer.run_dir
    trainer.test(module, batches, verbose=False)
    written = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    (found,) = trainer.test(BoringModule(), batches, verbose=False)
    assert (set(found), trainer.run_dir, trainer.results_dir) == ({"test/loss"}, None, None)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == written
    trainer.test(BoringModule(), batches, ckpt_path="last", verbose=False)  # with the run's weights it belongs there
    assert (trainer.run_dir, trainer.results_dir) == (run, run)


def test_network_replaced_after_the_fit():
    module, batches = BoringModule(), boring_batches(2)
    trainer = quiet_trainer()
    trainer.fit(module, batches, batches)
    before = trainer.test(module, batches, verbose=False)[0]["test/loss"]
    first, fitted = module.model, weights_of(module)
    module.model = BoringModule().model
    module.model.set_weights([weight + 1 for weight in first.get_weights()])
    after = trainer.test(module, batches, verbose=False)[0]["test/loss"]
    assert after == pytest.approx(mean_error(module, batches), rel=1e-5)
    assert after != pytest.approx(before, rel=1e-3)
    for array, kept in zip(first.get_weights(), fitted.values(), strict=True):
        np.testing.assert_array_equal(array, kept)


FACTOR = 1.0
FACTORS = {"a": 1.0}
step_helpers = ModuleType("step_helpers")  # stands for a module that the user wrote
step_helpers.factor = lambda: 1.0


def factor(value=1.0):
    return value


def factor_of(module):
    return module.factor


class Criterion:
    def factor(self):
        return 1.0


class Multiplies(BoringModule):
    """Its test step logs the product of numbers that it reads in many ways; each is 1 at first."""

    def __init__(self):
        super().__init__()
        self.factor, self.table, self.criterion = 1.0, np.ones(200), Criterion()

    def test_step(self, batch, batch_idx):
        product = FACTOR * FACTORS["a"] * factor() * factor_of(self) * float(self.table[0])
        product = product * step_helpers.factor() * self.criterion.factor() * self.method()
        self.log("test/product", self.error(batch) * 0.0 + product * self.trainer.datamodule.factor)

    def method(self):
        return 1.0


class Data(kgenre.DataModule):
    def __init__(self, factor):
        self.factor = factor

    def test_dataloader(self):
        return boring_batches(1)


def triple(*_):
    return 3.0


class Triples(Multiplies):
    def test_step(self, batch, batch_idx):
        self.log("test/product", self.error(batch) * 0.0 + 3.0)


@pytest.mark.parametrize(
    "change",
    {
        "an attribute": lambda patch, module: setattr(module, "factor", 3.0),
        "an item of a long array": lambda patch, module: module.table.fill(3.0),
        "a global": lambda patch, module: patch.setattr(sys.modules[__name__], "FACTOR", 3.0),
        "an item of a global dict": lambda patch, module: patch.setitem(FACTORS, "a", 3.0),
        "a global function": lambda patch, module: patch.setattr(sys.modules[__name__], "factor", triple),
        "a default argument": lambda patch, module: patch.setattr(factor, "__defaults__", (3.0,)),
        "a function of a module": lambda patch, module: patch.setattr(step_helpers, "factor", triple),
        "a method of an object": lambda patch, module: patch.setattr(Criterion, "factor", triple),
        "a method's code": lambda patch, module: patch.setattr(Multiplies.method, "__code__", triple.__code__),
        "the step": lambda patch, module: setattr(module, "test_step", Triples.test_step.__get__(module)),
        "the datamodule": lambda patch, module: Data(3.0),
    }.items(),
    ids=lambda item: item[0],
)
def test_what_a_step_reads_may_change_between_evaluations(change, monkeypatch):
    def tested(data):
        return trainer.test(module, datamodule=data, verbose=False)[0]["test/product"]

    module, data, trainer = Multiplies(), Data(1.0), quiet_trainer()
    trainer.fit(module, boring_batches(1))
    engine = trainer.engine
    assert tested(data) == 1.0
    assert tested(change[1](monkeypatch, module) or data) == 3.0
    assert trainer.engine is engine, "which has the optimizer's state, for a checkpoint"


def test_what_a_step_logs_may_change_between_evaluations():
    class Grows(BoringModule):
        names = ("a",)

        def validation_step(self, batch, batch_idx):
            for name in self.names:
                self.log(name, self.error(batch), add_dataloader_idx=False)

    module, batches, trainer = Grows(), boring_batches(2), quiet_trainer()
    for names in (("a",), ("a", "b"), ("b",)):
        module.names = names
        assert tuple(trainer.validate(module, batches, verbose=False)[0]) == names


def test_evaluation_does_not_change_weights():
    module = BoringModule()
    before = weights_of(module)
    trainer = quiet_trainer()
    trainer.test(module, boring_batches(2), verbose=False)
    trainer.predict(module, boring_batches(2))
    for name, array in weights_of(module).items():
        np.testing.assert_array_equal(array, before[name])


def test_predict_returns_numpy_arrays():
    class Dicts(BoringModule):
        def predict_step(self, batch, batch_idx):
            return {"y": self.model(batch["x"]), "number": batch_idx}

    module, batches = Dicts(), boring_batches(3)
    kernel, bias = weights_of(module).values()
    outputs = quiet_trainer().predict(module, batches)
    assert [int(output["number"]) for output in outputs] == [0, 1, 2]
    for output, batch in zip(outputs, batches, strict=True):
        assert isinstance(output["y"], np.ndarray)
        np.testing.assert_allclose(output["y"], batch["x"] @ kernel + bias, rtol=1e-5, atol=1e-6)


def test_layers_used_only_by_the_test_step_are_built():
    class Second(BoringModule):
        def __init__(self):
            super().__init__()
            self.second = keras.layers.Dense(2, kernel_initializer="ones")  # built in its first call

        def test_step(self, batch, batch_idx):
            self.log("test/loss", ops.mean((self.second(batch["x"]) - batch["y"]) ** 2))

    module, batches = Second(), boring_batches(2)
    trainer = quiet_trainer()
    trainer.fit(module, batches)
    expected = np.mean([np.mean((b["x"].sum(1, keepdims=True) - b["y"]) ** 2) for b in batches])
    assert trainer.test(module, batches, verbose=False)[0]["test/loss"] == pytest.approx(expected, rel=1e-5)


def test_renamed_run_is_suggested(caplog):
    trainer = quiet_trainer(enable_checkpointing=True, name="net")
    trainer.fit(BoringModule(), boring_batches(1))
    renamed = trainer.run_dir.rename(trainer.run_dir.with_name("good"))
    said = f"To use a run with another name, pass its path: {renamed}."
    with pytest.raises(CheckpointError, match=said):
        quiet_trainer(name="net").test(BoringModule(), boring_batches(1), ckpt_path="best")
    quiet_trainer(name="net").fit(BoringModule(), boring_batches(1), ckpt_path="last")
    assert f"training starts from the beginning. {said}" in caplog.text


def test_datamodule_of_the_fit_is_reused():
    class Data(kgenre.DataModule):
        stages = ()

        def setup(self, stage):
            self.stages = (*self.stages, stage)

        def train_dataloader(self):
            return boring_batches(1)

        test_dataloader = predict_dataloader = train_dataloader

    data, trainer = Data(), quiet_trainer()
    trainer.fit(BoringModule(), datamodule=data)
    trainer.test(verbose=False)
    assert len(trainer.predict()) == 1
    assert data.stages == ("fit", "test", "predict")
    assert data.trainer is trainer


def test_new_datamodule_receives_the_state_of_the_fit():
    class Data(kgenre.DataModule):
        words, taken = "", 0

        def setup(self, stage):
            self.words = self.words or stage

        def train_dataloader(self):
            return boring_batches(1)

        test_dataloader = train_dataloader

        def state_dict(self):
            return {"words": self.words}

        def load_state_dict(self, state):
            self.words, self.taken = state["words"], self.taken + 1

    class OthersData(Data):
        pass

    module, trainer = BoringModule(), quiet_trainer(enable_checkpointing=True)
    trainer.fit(module, datamodule=Data())
    for data, words, taken in ((Data(), "fit", 1), (Data(), "fit", 1), (OthersData(), "test", 0)):
        for _ in range(2):
            trainer.test(datamodule=data, verbose=False)
            assert (data.words, data.taken) == (words, taken)
    trainer.test(BoringModule(), datamodule=(data := Data()), verbose=False)
    assert data.words == "test"
    trainer.test(module, boring_batches(1), ckpt_path="last", verbose=False)
    trainer.test(module, datamodule=(data := Data()), verbose=False)
    assert data.words == "fit"


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_checkpoint_of_a_run_without_a_datamodule_has_no_state_for_one(stage):
    class Data(kgenre.DataModule):
        def test_dataloader(self):
            return boring_batches(1)

        train_dataloader = test_dataloader

        def load_state_dict(self, state):
            raise AssertionError(state)

    quiet_trainer(enable_checkpointing=True).fit(BoringModule(), boring_batches(1))
    trainer = quiet_trainer(max_epochs=2)
    getattr(trainer, stage)(BoringModule(), datamodule=Data(), ckpt_path="last")
    assert trainer.global_step == {"fit": 2, "test": 1}[stage]


def test_a_training_step_that_cannot_be_built_for_a_test_is_logged(caplog):
    """Its error may be the reason why weights of the checkpoint are missing in the module."""

    class Teaches(BoringModule):
        def __init__(self):
            super().__init__()
            self.model = keras.Sequential([keras.layers.Dense(2)])

        def setup(self, stage):
            self.scaled = keras.ops.square if stage == "fit" else None

        def training_step(self, batch, batch_idx):
            return self.scaled(super().training_step(batch, batch_idx))

    trainer, batches = quiet_trainer(enable_checkpointing=True), boring_batches(2)
    trainer.fit(Teaches(), batches)
    caplog.set_level(logging.DEBUG, "kgenre")
    quiet_trainer().test(Teaches(), batches, ckpt_path=trainer.run_dir, verbose=False)
    (record,) = [record for record in caplog.records if "cannot be built on the batches" in record.message]
    assert (record.levelno, record.exc_info[0]) == (logging.DEBUG, TypeError)


@pytest.mark.parametrize("is_fitted", [False, True])
def test_interrupt_while_the_step_is_built(is_fitted, caplog):
    class Interrupted(BoringModule):
        def test_step(self, batch, batch_idx):  # runs as Python while it is traced
            raise KeyboardInterrupt

    module, trainer = Interrupted(), quiet_trainer()
    if is_fitted:
        trainer.fit(module, boring_batches(1))
    with pytest.raises(KeyboardInterrupt):
        trainer.test(module, boring_batches(1))
    assert trainer.interrupted
    assert caplog.messages[-1] == "Interrupted: this test has no results."


def test_errors_for_a_missing_module_data_or_step():
    with pytest.raises(TrainerError, match=r"trainer.test\(\) needs a module"):
        quiet_trainer().test(dataloaders=boring_batches(1))
    with pytest.raises(TrainerError, match="The test data yielded no batches"):
        quiet_trainer().test(BoringModule(), [])

    class OnlyTrains(kgenre.Module):
        pass

    with pytest.raises(NotImplementedError, match=r"OnlyTrains must define test_step\(self, batch, batch_idx\)"):
        quiet_trainer().test(OnlyTrains(), boring_batches(1))
