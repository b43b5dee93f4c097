"""The Trainer's public attributes: state, batch counts, callbacks and loggers, metrics, dataloaders."""

import itertools
import math
import re

import keras
import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, quiet_trainer, weights_of

import kgenre
from kgenre.callbacks import EarlyStopping, ModelCheckpoint, ModelSummary, ProgressBar
from kgenre.loggers import CSVLogger, InMemoryLogger
from kgenre.profilers import SimpleProfiler
from kgenre.training.flags import FIXED

pytestmark = pytest.mark.usefixtures("in_tmp_path")

FLAGS = ("training", "sanity_checking", "validating", "testing", "predicting")


def doing(trainer):
    """The flags that are true, and ``trainer.state``."""
    return [name for name in FLAGS if getattr(trainer, name)], (trainer.state.fn, trainer.state.stage)


def test_state_flags_follow_the_run():
    seen = {}

    def note(name):
        return lambda trainer, *_: seen.setdefault((trainer.state.fn, name), []).append(doing(trainer))

    hooks = ("setup", "on_train_batch_end", "on_validation_batch_end", "on_test_batch_end", "on_predict_batch_end")
    trainer = quiet_trainer(callbacks=Lambdas(**{name: note(name) for name in hooks}))
    assert doing(trainer) == ([], (None, None))
    assert trainer.state.status == "initializing"
    trainer.fit(BoringModule(), boring_batches(1), boring_batches(1))
    for stage in ("validate", "test", "predict"):
        getattr(trainer, stage)(dataloaders=boring_batches(1), **({} if stage == "predict" else {"verbose": False}))
    assert seen == {
        ("fit", "setup"): [(["training"], ("fit", "train"))],
        ("validate", "setup"): [(["validating"], ("validate", "validate"))],
        ("test", "setup"): [(["testing"], ("test", "test"))],
        ("predict", "setup"): [(["predicting"], ("predict", "predict"))],
        ("fit", "on_validation_batch_end"): [
            (["sanity_checking"], ("fit", "sanity_check")),
            (["validating"], ("fit", "validate")),
        ],
        ("fit", "on_train_batch_end"): [(["training"], ("fit", "train"))],
        ("validate", "on_validation_batch_end"): [(["validating"], ("validate", "validate"))],
        ("test", "on_test_batch_end"): [(["testing"], ("test", "test"))],
        ("predict", "on_predict_batch_end"): [(["predicting"], ("predict", "predict"))],
    }
    assert doing(trainer) == ([], ("predict", None))
    assert trainer.state.status == "finished"


def test_attributes_before_a_run():
    trainer = quiet_trainer()
    assert not hasattr(trainer, "module")
    assert not hasattr(trainer, "engine")
    with pytest.raises(kgenre.TrainerError, match=r"trainer.module needs a run: call trainer.fit"):
        trainer.experiment_dir  # noqa: B018  it contains the module's name
    with pytest.raises(kgenre.TrainerError, match=r"trainer.engine needs a run whose module is built"):
        trainer.set_learning_rate(0.1)
    assert trainer.optimizers == trainer.learning_rates() == []


def test_the_name_of_an_experiment_may_be_a_number():
    trainer = kgenre.Trainer(max_epochs=1, logger=CSVLogger(), enable_progress_bar=False)
    for fold in (0, 1):
        trainer.name = fold
        trainer.fit(BoringModule(), boring_batches(1))
        assert trainer.run_dir.parent.name == str(fold)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("lightning_module", "trainer.module"),
        ("fit_loop", "trainer.max_epochs = 5"),
        ("num_test_batches", "trainer.num_evaluation_batches"),
        ("tune", "Tuner(trainer).lr_find"),
    ],
)
def test_lightning_names_suggest_a_replacement(name, instead):
    trainer = quiet_trainer()
    with pytest.raises(AttributeError, match=rf"^Trainer has no attribute '{name}': .*{re.escape(instead)}"):
        getattr(trainer, name)
    assert not hasattr(trainer, name)
    with pytest.raises(AttributeError, match=r"^'Trainer' object has no attribute 'modle'$"):
        trainer.modle  # noqa: B018


def test_public_attributes_exist():
    (listed,) = re.findall(r"Public are .*? may change\.", kgenre.Trainer.__doc__, re.DOTALL)
    names = re.findall(r"``(\w+)``", listed)
    assert len(names) >= 14
    assert all(hasattr(quiet_trainer(), name) for name in names)


def test_flags_can_be_changed_between_runs():
    trainer, module, batches = quiet_trainer(limit_train_batches=2), BoringModule(), boring_batches(4)
    trainer.fit(module, batches, batches)
    assert (trainer.limit_train_batches, trainer.limit_val_batches, trainer.num_training_batches) == (2, None, 2)
    assert (trainer.gradient_clip_val, trainer.gradient_clip_algorithm) == (None, "norm")
    trainer.limit_train_batches, trainer.limit_val_batches = 1, 0
    trainer.limit_test_batches, trainer.limit_predict_batches = 3, 0.5
    trainer.gradient_clip_val, trainer.gradient_clip_algorithm = 1e-3, "value"
    before = weights_of(module)
    trainer.fit(module, batches, batches)
    assert (trainer.num_training_batches, trainer.num_val_batches) == (1, 0)
    changes = [np.abs(weight - before[name]).max() for name, weight in weights_of(module).items()]
    assert changes == pytest.approx([1e-4] * len(changes), rel=1e-3)  # the learning rate is 0.1
    trainer.test(dataloaders=batches, verbose=False)
    assert trainer.num_evaluation_batches == 3
    assert len(trainer.predict(dataloaders=batches)) == 2


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("max_epochs", -2),
        ("max_epochs", 2.5),
        ("min_epochs", -1),
        ("max_steps", None),
        ("min_steps", "3"),
        ("limit_val_batches", 1.5),
        ("log_every_n_steps", -1),
        ("val_check_interval", 0),
        ("val_check_interval", 1.5),
        ("check_val_every_n_epoch", 0),
        ("num_sanity_val_steps", -2),
        ("accumulate_grad_batches", 0),
        ("accumulate_grad_batches", math.inf),
        ("gradient_clip_val", 0),
        ("gradient_clip_algorithm", "sum"),
        ("precision", "64-true"),
        ("reload_dataloaders_every_n_epochs", -1),
        ("jit_compile", "yes"),
        ("steps_per_execution", 0),
        ("accelerator", "tpu"),
        ("devices", "two"),
        ("strategy", "ddp"),
        ("deterministic", "maybe"),
        ("callbacks", [3]),
    ],
)
def test_flags_set_between_runs_are_checked_as_in_the_constructor(name, wrong):
    trainer = quiet_trainer()
    before = getattr(trainer, name)
    with pytest.raises(ValueError, match=r"Received: ") as constructing:
        quiet_trainer(**{name: wrong})
    with pytest.raises(type(constructing.value)) as setting:
        setattr(trainer, name, wrong)
    assert str(setting.value) == str(constructing.value).replace("Trainer(callbacks=...)", "trainer.callbacks")
    assert getattr(trainer, name) == before


@pytest.mark.parametrize("name", FIXED)
def test_flags_that_only_a_new_trainer_can_have_are_refused(name):
    trainer = quiet_trainer()
    before = getattr(trainer, name)
    with pytest.raises(kgenre.TrainerError, match=rf"trainer.{name} cannot be set: create another Trainer\({name}=3\)"):
        setattr(trainer, name, 3)
    assert getattr(trainer, name) == before


def test_flags_set_between_runs_mean_the_same_as_in_the_constructor():
    trainer, batches = quiet_trainer(max_steps=3), boring_batches(2)
    trainer.max_epochs, trainer.log_every_n_steps, trainer.precision = -1, 0, "bf16"
    assert (trainer.max_epochs, trainer.log_every_n_steps, trainer.precision) == (math.inf, math.inf, "bf16-mixed")
    trainer.max_epochs, trainer.log_every_n_steps = trainer.max_epochs, trainer.log_every_n_steps
    trainer.precision, trainer.callbacks = "32-true", ModelSummary()
    trainer.fit(BoringModule(), batches)
    assert (trainer.global_step, [type(callback) for callback in trainer.callbacks]) == (3, [ModelSummary])
    trainer.max_epochs = trainer.log_every_n_steps = trainer.num_sanity_val_steps = trainer.min_steps = None
    assert (trainer.max_epochs, trainer.log_every_n_steps) == (math.inf, 50)
    assert (trainer.num_sanity_val_steps, trainer.min_steps) == (2, 0)


def test_profiler_set_between_runs(capsys):
    trainer = quiet_trainer()
    for given, reports in (("simple", 1), (SimpleProfiler(), 1), (None, 0)):
        trainer.profiler = given
        trainer.fit(BoringModule(), boring_batches(1))
        assert capsys.readouterr().out.count("FIT Profiler Report") == reports
    with pytest.raises(kgenre.TrainerError, match=r"^profiler must be one of 'simple', .* Received: 'fast'"):
        trainer.profiler = "fast"


def test_loggers_set_between_runs():
    trainer, first, second = quiet_trainer(logger=True), InMemoryLogger(), InMemoryLogger()
    for given, loggers in ((first, [first]), ([second, first], [second, first]), (False, [])):
        trainer.logger = given
        trainer.fit(BoringModule(), boring_batches(1), boring_batches(1))
        assert trainer.loggers == loggers
    assert [len(logger.history("val/loss")) for logger in (first, second)] == [2, 1]
    with pytest.raises(kgenre.TrainerError, match=r"Trainer\(logger=...\) takes True .* Received: 3"):
        trainer.logger = 3
    trainer.logger = None
    assert [type(logger) for logger in trainer.loggers] == [type(logger) for logger in kgenre.Trainer().loggers]


def test_flags_set_between_runs_are_checked_together():
    trainer = quiet_trainer()
    trainer.min_epochs = 2
    with pytest.raises(kgenre.TrainerError, match=r"^min_epochs must not be above .* min_epochs=2, max_epochs=1"):
        trainer.fit(BoringModule(), boring_batches(1))
    trainer.max_epochs, trainer.check_val_every_n_epoch = 2, None
    with pytest.raises(kgenre.TrainerError, match=r"^check_val_every_n_epoch=None .*val_check_interval=1.0$"):
        trainer.fit(BoringModule(), boring_batches(1))


@pytest.mark.parametrize(
    ("name", "value", "option"),
    [
        ("precision", "16-mixed", "loss_scaling"),
        ("jit_compile", True, "jit_compile"),
        ("deterministic", True, "deterministic"),
    ],
)
def test_flags_set_between_runs_reach_the_step(monkeypatch, name, value, option):
    monkeypatch.setattr("kgenre.engines.determinism.make_deterministic", lambda warn_only: None)  # for all that follows
    monkeypatch.setattr("kgenre.engines.random_state.is_seeded", lambda: True)

    class Configures(BoringModule):
        def __init__(self):
            super().__init__()
            self.model = None

        def configure_model(self):
            if self.model is None:
                self.model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])

        def training_step(self, batch, batch_idx):
            return keras.ops.mean(self.model(batch["x"]))

    trainer = quiet_trainer()
    setattr(trainer, name, value)
    trainer.fit(Configures(), boring_batches(1))
    assert getattr(trainer.engine.options, option)


def test_scheduled_learning_rate_cannot_be_set():
    class Decays(BoringModule):
        def configure_optimizers(self):
            return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, 100))

    trainer = quiet_trainer(callbacks=Lambdas(on_train_epoch_start=lambda trainer, _: trainer.set_learning_rate(0.1)))
    with pytest.raises(kgenre.TrainerError, match=r"set_learning_rate\(\): the schedule CosineDecay sets the rate"):
        trainer.fit(Decays(), boring_batches(1))


def test_attributes_after_a_step_that_fails_to_build():
    class Fails(BoringModule):
        def training_step(self, batch, batch_idx):
            raise ZeroDivisionError

    seen = []
    trainer = quiet_trainer(callbacks=Lambdas(on_exception=lambda trainer, *_: seen.append(trainer.learning_rates())))
    with pytest.raises(ZeroDivisionError):
        trainer.fit(Fails(), boring_batches(1))
    assert seen == [[]]
    with pytest.raises(kgenre.TrainerError, match=r"trainer.save_checkpoint\(\) needs a run"):
        trainer.save_checkpoint("checkpoint")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_status_of_an_interrupted_run(error):
    def fail(trainer, module):
        raise error

    trainer = quiet_trainer(callbacks=Lambdas(on_train_epoch_start=fail))
    if error is KeyboardInterrupt:
        trainer.fit(BoringModule(), boring_batches(1))
    else:
        with pytest.raises(error):
            trainer.fit(BoringModule(), boring_batches(1))
    assert trainer.state.status == "interrupted"
    assert trainer.interrupted == (error is KeyboardInterrupt)


def test_trainer_that_refuses_to_run_does_not_keep_the_module():
    callback = type("Hopes", (kgenre.Callback,), {"on_after_backward": lambda *arguments: None})()
    refusing, module, trainer = quiet_trainer(callbacks=callback), BoringModule(), quiet_trainer()
    with pytest.raises(kgenre.TrainerError, match="would never be called"):
        refusing.fit(module, boring_batches(1))
    assert (refusing.state.status, refusing.training) == ("initializing", False)
    trainer.fit(module, boring_batches(1))
    assert module.trainer is trainer


@pytest.mark.parametrize("method", ["fit", "validate", "test", "predict"])
def test_trainer_refuses_a_second_run_in_a_hook(method):
    class Nested(BoringModule):
        def on_train_epoch_end(self):
            with pytest.raises(kgenre.TrainerError, match=rf"trainer.{method}\(\) was called in a hook of trainer.fit"):
                getattr(self.trainer, method)(self, boring_batches(3))
            counts.append(self.trainer.global_step)

    counts, trainer = [], quiet_trainer(max_epochs=2)
    trainer.fit(Nested(), boring_batches(2), boring_batches(1))
    assert (counts, trainer.state.status, trainer.num_training_batches) == ([2, 4], "finished", 2)
    getattr(trainer, method)(BoringModule(), boring_batches(1))  # now it is free


@pytest.mark.parametrize("known_length", [True, False])
def test_is_last_batch(known_length):
    last, batches = [], boring_batches(3)
    note = Lambdas(on_train_batch_start=lambda trainer, *_: last.append(trainer.is_last_batch))
    stream = type("Stream", (), {"__iter__": lambda self: iter(batches)})()
    quiet_trainer(callbacks=note, max_epochs=2).fit(BoringModule(), batches if known_length else stream)
    assert last == [False, False, True] * 2


def test_callbacks_and_loggers_in_use():
    first, second, stop, bar = ModelCheckpoint(), ModelCheckpoint(monitor=None), EarlyStopping(), ProgressBar()
    loggers = [InMemoryLogger(), CSVLogger()]
    trainer = kgenre.Trainer(callbacks=[first, stop, bar, second], logger=loggers)
    assert trainer.checkpoint_callback is first
    assert trainer.checkpoint_callbacks == [first, second]
    assert trainer.early_stopping_callback is stop
    assert trainer.early_stopping_callbacks == [stop]
    assert trainer.progress_bar_callback is bar
    assert (trainer.logger, trainer.loggers) == (loggers[0], loggers)
    bare = quiet_trainer()
    assert (bare.checkpoint_callback, bare.early_stopping_callback, bare.progress_bar_callback, bare.logger) == (
        None,
        None,
        None,
        None,
    )


def test_lightning_attributes_in_hooks(capsys):
    class Asks(BoringModule):
        def on_train_start(self):
            trainer = self.trainer
            if trainer.is_global_zero and self.global_rank == self.local_rank == trainer.global_rank == 0:
                self.print(len(trainer.train_dataloader), len(trainer.val_dataloaders), trainer.world_size)

    quiet_trainer().fit(Asks(), boring_batches(3), boring_batches(2))
    assert capsys.readouterr().out == "3 2 1\n"


def test_batch_counts():
    class Unknown:
        def __iter__(self):
            return iter(boring_batches(2))

    trainer = quiet_trainer(limit_val_batches=2)
    trainer.fit(BoringModule(), Unknown(), boring_batches(3))
    assert (trainer.num_training_batches, trainer.num_val_batches) == (math.inf, 2)
    assert trainer.estimated_stepping_batches == math.inf


def test_the_three_kinds_of_metrics():
    class Logs(BoringModule):
        def training_step(self, batch, batch_idx):
            loss = self.error(batch)
            self.log("shown", loss, prog_bar=True, logger=False)
            self.log("written", loss)
            self.log("neither", loss, logger=False)
            self.log("both", loss, prog_bar=True, on_step=True, on_epoch=True)
            return loss

    trainer = quiet_trainer(logger=InMemoryLogger(), log_every_n_steps=1)
    trainer.fit(Logs(), boring_batches(2))
    throughput = {name for name in trainer.callback_metrics if name.startswith("throughput/")}
    assert set(trainer.progress_bar_metrics) == {"shown", "both_step", "both_epoch"}
    assert set(trainer.logged_metrics) == {"written", "both_step", "both_epoch"} | throughput
    named = {"shown", "written", "neither", "both", "both_step", "both_epoch"}
    assert set(trainer.callback_metrics) == named | throughput
    assert trainer.callback_metrics["both"] == trainer.callback_metrics["both_epoch"]


def test_ckpt_path_is_the_loaded_checkpoint(tmp_path):
    trainer = quiet_trainer()
    trainer.fit(BoringModule(), boring_batches(1))
    assert trainer.ckpt_path is None
    path = trainer.save_checkpoint(tmp_path / "here")
    other = quiet_trainer(max_epochs=2)
    other.fit(BoringModule(), boring_batches(1), ckpt_path=path)
    assert other.ckpt_path == path
    other.fit(BoringModule(), boring_batches(1), ckpt_path="last")  # there is none: a fresh start
    assert other.ckpt_path is None


def test_module_with_its_own_dataloaders():
    class Own(BoringModule):
        def train_dataloader(self):
            return boring_batches(3)

        def val_dataloader(self):
            return boring_batches(2)

        test_dataloader = predict_dataloader = val_dataloader

    trainer, module = quiet_trainer(), Own()
    trainer.fit(module)
    assert (trainer.num_training_batches, trainer.num_val_batches) == (3, 2)
    assert "test/loss" in trainer.test(module, verbose=False)[0]
    assert len(trainer.predict(module)) == 2
    trainer.fit(module, boring_batches(1))  # the argument takes precedence
    assert trainer.num_training_batches == 1


def test_dataloaders_are_reloaded():
    class Grows(kgenre.DataModule):
        def __init__(self):
            self.counts = itertools.count(1)

        def train_dataloader(self):
            return boring_batches(next(self.counts))

        def val_dataloader(self):
            return boring_batches(1)

    def batches(every):
        seen = []
        note = Lambdas(on_train_epoch_end=lambda trainer, module: seen.append(trainer.batch_idx))
        trainer = quiet_trainer(max_epochs=5, reload_dataloaders_every_n_epochs=every, callbacks=note)
        trainer.fit(BoringModule(), datamodule=Grows())
        return seen

    assert batches(0) == [1] * 5
    assert batches(1) == [1, 2, 3, 4, 5]
    assert batches(2) == [1, 1, 2, 2, 3]


@pytest.mark.one_backend("jax")
def test_resume_reloads_dataloaders_of_the_right_epoch(tmp_path):
    """Curriculum learning: a run resumed at epoch 3 has the data loaded for epoch 2, as without a stop."""

    class Curriculum(kgenre.DataModule):
        def train_dataloader(self):
            return boring_batches(1, seed=self.trainer.current_epoch)

    def weights_after(max_epochs, ckpt_path=None):
        module = BoringModule()
        trainer = quiet_trainer(
            max_epochs=max_epochs,
            reload_dataloaders_every_n_epochs=2,
            enable_checkpointing=True,
            default_root_dir=tmp_path,
        )
        trainer.fit(module, datamodule=Curriculum(), ckpt_path=ckpt_path)
        assert trainer.current_epoch == max_epochs
        return weights_of(module)["model.layers.0.kernel"]

    whole = weights_after(4)
    weights_after(3)
    np.testing.assert_array_equal(weights_after(4, "last"), whole)


def test_reload_may_add_validation_sets():
    class Grows(kgenre.DataModule):
        sets = 0

        def train_dataloader(self):
            return boring_batches(1)

        def val_dataloader(self):
            self.sets += 1
            return [boring_batches(1)] * (self.sets - 1)

    class Several(BoringModule):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            super().validation_step(batch, batch_idx)

    trainer = quiet_trainer(max_epochs=3, reload_dataloaders_every_n_epochs=1)
    trainer.fit(Several(), datamodule=Grows())
    names = {"val/loss", "val/loss/dataloader_idx_0", "val/loss/dataloader_idx_1"}
    assert names < set(trainer.callback_metrics)
