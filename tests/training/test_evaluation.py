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
from kgenre.checkpoints import CheckpointError
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
    trainer = quiet_trainer()
    trainer.fit(module, batches, batches)
    engine = trainer.engine
    assert trainer.test(dataloaders=batches, verbose=False)[0]["test/loss"] == pytest.approx(
        mean_error(module, batches), rel=1e-5
    )
    assert trainer.validate(dataloaders=batches, verbose=False)[0].keys() == {"val/loss"}
    assert trainer.engine is engine
    assert all(engine.traces[stage] == traces(1) for stage in ("train", "validation", "test"))


def test_what_only_training_reads_may_change_after_the_fit():
    class Weighted(BoringModule):
        def __init__(self):
            super().__init__()
            self.weight = 2.0

        def training_step(self, batch, batch_idx):
            return self.weight * super().training_step(batch, batch_idx)

    module, batches, trainer = Weighted(), boring_batches(1), quiet_trainer()
    trainer.fit(module, batches)
    engine, module.weight = trainer.engine, 3.0
    trainer.validate(dataloaders=batches, verbose=False)
    assert trainer.engine is engine, "which has the optimizer's state, for a checkpoint"


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


def test_without_a_module_the_best_checkpoint_is_evaluated():
    class Worsens(BoringModule):
        def on_validation_epoch_end(self):
            self.log("val/score", float(self.current_epoch))

    batches = boring_batches(2)
    trainer = quiet_trainer(max_epochs=2, callbacks=ModelCheckpoint("val/score"), enable_checkpointing=True)
    trainer.fit(Worsens(), batches, batches)
    trainer.test(trainer.module, batches, verbose=False)
    assert (trainer.ckpt_path, trainer.global_step) == (None, 4)
    trainer.test(dataloaders=batches, verbose=False)
    assert (trainer.ckpt_path, trainer.global_step) == (trainer.run_dir / "checkpoints" / "step=000002", 2)


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


def test_rewritten_step_is_recompiled():
    """As in a notebook: ``%autoreload`` replaces a function's code, an assignment the method itself."""

    class Rewritten(BoringModule):
        def test_step(self, batch, batch_idx):
            self.log("test/loss", self.wrong(batch))

        def wrong(self, batch):
            return self.error(batch) * 0.0 + 1.0

    def test_step(self, batch, batch_idx):
        self.log("test/loss", self.error(batch) * 0.0 + 3.0)

    class HasAnything:
        def __getattr__(self, name):
            return HasAnything()

    def tested():
        return trainer.test(module, batches, verbose=False)[0]["test/loss"]

    module, batches, trainer = Rewritten(), boring_batches(2), quiet_trainer()
    module.service = HasAnything()
    trainer.fit(module, batches)
    assert tested() == 1.0
    Rewritten.wrong.__code__ = (lambda self, batch: self.error(batch) * 0.0 + 2.0).__code__
    assert tested() == 2.0
    module.test_step = test_step.__get__(module)
    assert tested() == 3.0
    engine = trainer.engine
    assert tested() == 3.0
    assert trainer.engine is engine


def scaled(error):
    return error * 1.0


step_helpers = ModuleType("step_helpers")  # stands for a module that the user wrote
step_helpers.scaled = lambda error: error * 1.0


class Criterion:
    def scaled(self, error):
        return error * 1.0


class Judged(BoringModule):
    """Its step uses a global function, a function of another module, a method of an object and a number."""

    def __init__(self):
        super().__init__()
        self.criterion, self.factor = Criterion(), 1.0

    def test_step(self, batch, batch_idx):
        self.log("test/loss", self.judged(scaled, self.error(batch) * 0.0 + 1.0) * self.factor)

    def judged(self, scaled, error):
        return self.criterion.scaled(scaled(error)) * step_helpers.scaled(1.0)


@pytest.mark.parametrize("what", ["function", "in a module", "method of an object", "number"])
def test_changes_in_what_a_step_uses_take_effect(monkeypatch, what):
    def tested():
        return trainer.test(module, batches, verbose=False)[0]["test/loss"]

    def tripled(*arguments):
        return arguments[-1] * 3.0

    module, batches, trainer = Judged(), boring_batches(2), quiet_trainer()
    trainer.fit(module, batches)
    assert tested() == 1.0
    engine = trainer.engine
    assert (tested(), trainer.engine is engine) == (1.0, True)
    owner, name = {
        "function": (sys.modules[__name__], "scaled"),
        "in a module": (step_helpers, "scaled"),
        "method of an object": (Criterion, "scaled"),
        "number": (module, "factor"),
    }[what]
    monkeypatch.setattr(owner, name, 3.0 if what == "number" else tripled)
    assert tested() == 3.0


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
            self.scale = 2.0 if stage == "fit" else None

        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) * self.scale

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
