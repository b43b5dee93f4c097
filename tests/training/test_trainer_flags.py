"""The Trainer's flags: effects, defaults, invalid values and conflicts."""

import logging
import re

import keras
import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, boring_dataset, quiet_trainer, weights_of

import kgenre
from kgenre import TrainerError
from kgenre.callbacks import EarlyStopping, ModelCheckpoint, ProgressBar
from kgenre.loggers import CSVLogger, InMemoryLogger, TensorBoardLogger
from kgenre.profilers import SimpleProfiler

pytestmark = pytest.mark.usefixtures("in_tmp_path")


class Watch(kgenre.Callback):
    """Records (epoch, batch_idx) and rows of training batches, and steps of validations; counts evaluated batches."""

    def __init__(self):
        self.batches, self.validations, self.rows, self.sanity = [], [], [], 0
        self.evaluated = dict.fromkeys(("validation", "test", "predict"), 0)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.batches.append((trainer.current_epoch, batch_idx))
        self.rows.append(keras.ops.convert_to_numpy(batch["x"]).tobytes())

    def on_validation_start(self, trainer, module):
        if not trainer.sanity_checking:
            self.validations.append(trainer.global_step)

    def on_validation_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.sanity_checking:
            self.sanity += 1
        self.evaluated["validation"] += not trainer.sanity_checking

    def on_test_batch_end(self, *arguments):
        self.evaluated["test"] += 1

    def on_predict_batch_end(self, *arguments):
        self.evaluated["predict"] += 1


def watched(batches=6, val=None, **arguments):
    watch = Watch()
    trainer = quiet_trainer(callbacks=watch, **arguments)
    source = boring_batches(batches) if isinstance(batches, int) else batches
    trainer.fit(BoringModule(), source, None if val is None else boring_batches(val))
    return watch, trainer


class Unknown:
    """Batches without a length."""

    def __init__(self, count):
        self.count = count

    def __iter__(self):
        return iter(boring_batches(self.count))


class Shuffles(list):
    """Batches in another order in each pass, as those of a DataLoader."""

    random = np.random.default_rng(0)

    def __iter__(self):
        return iter([self[i] for i in self.random.permutation(len(self))])


# --- length of training -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "epochs", "steps"),
    [
        ({"max_epochs": None, "max_steps": 8}, 1, 8),
        ({"max_epochs": 1, "max_steps": 8}, 1, 6),
        ({"max_epochs": 9, "max_steps": 3, "accumulate_grad_batches": 3}, 1, 3),
        ({"max_epochs": -1, "max_steps": 8}, 1, 8),
    ],
)
def test_max_epochs_and_max_steps(arguments, epochs, steps):
    watch, trainer = watched(**arguments)
    assert (trainer.current_epoch, trainer.global_step) == (epochs, steps)
    assert len(watch.batches) == steps * trainer.accumulate_grad_batches


def test_max_epochs_has_a_default():
    assert kgenre.Trainer().max_epochs == 1000


@pytest.mark.parametrize(("limit", "batches"), [(0.5, 3), (None, 6)])
def test_limit_batches(limit, batches):
    limits = {f"limit_{stage}_batches": limit for stage in ("train", "val", "test", "predict")}
    watch, trainer = watched(6, 6, **limits)
    trainer.test(dataloaders=boring_batches(6), verbose=False)
    trainer.predict(dataloaders=boring_batches(6))
    assert len(watch.batches) == trainer.num_training_batches == batches
    assert watch.evaluated == {"validation": batches, "test": batches, "predict": batches}


@pytest.mark.parametrize(("stage", "loader"), [("validate", "val"), ("test", "test"), ("predict", "predict")])
def test_limit_of_0_skips_the_stage(stage, loader, caplog):
    caplog.set_level(logging.INFO, "kgenre")
    watch = Watch()
    trainer = quiet_trainer(callbacks=watch, **{f"limit_{loader}_batches": 0})
    assert getattr(trainer, stage)(BoringModule(), boring_batches(2)) == []
    assert not trainer.callback_metrics
    assert not watch.validations
    assert not any(watch.evaluated.values())
    assert f"trainer.{stage}() is skipped: limit_{loader}_batches=0." in caplog.text


def test_limit_of_unsized_data_must_be_a_count():
    watch, _ = watched(Unknown(5), limit_train_batches=2, max_epochs=2)
    assert watch.batches == [(0, 0), (0, 1), (1, 0), (1, 1)]
    with pytest.raises(TrainerError, match=r"limit_train_batches=0.5: a fraction needs data of known length"):
        watched(Unknown(5), limit_train_batches=0.5)


def test_incomplete_group_updates_if_a_source_ends_early():
    _, trainer = watched(Unknown(5), limit_train_batches=99, accumulate_grad_batches=2, max_epochs=2)
    assert trainer.global_step == 6


@pytest.mark.parametrize("stage", ["train", "val"])
def test_fraction_that_leaves_no_batch_is_rejected(stage):
    with pytest.raises(TrainerError, match=rf"limit_{stage}_batches=0.1 of 6 batches is less than one. Give at least"):
        watched(6, 6, **{f"limit_{stage}_batches": 0.1})


def test_log_every_n_steps_0_logs_no_steps():
    logger = InMemoryLogger()
    quiet_trainer(logger=logger, log_every_n_steps=0, max_epochs=2).fit(BoringModule(), boring_batches(60))
    assert logger.history("train/loss") == []


def test_limit_val_batches_0_skips_validation():
    watch, trainer = watched(2, 3, limit_val_batches=0)
    assert watch.evaluated["validation"] == watch.sanity == 0
    assert "val/loss" not in trainer.callback_metrics


@pytest.mark.parametrize("amount", [2, 0.5])
def test_overfit_batches_repeats_the_same_batches(amount):
    watch, _ = watched(boring_dataset(rows=32, shuffle=True), overfit_batches=amount, max_epochs=3)
    assert len(watch.batches) == 6
    assert watch.rows[:2] == watch.rows[2:4] == watch.rows[4:]
    assert watch.rows[0] != watch.rows[1]
    other, _ = watched(Shuffles(boring_batches(4)), overfit_batches=amount, max_epochs=3)
    assert other.rows[:2] == other.rows[2:4] == other.rows[4:]
    shuffled, _ = watched(boring_dataset(rows=32, shuffle=True), limit_train_batches=2, max_epochs=2)
    assert shuffled.rows[:2] != shuffled.rows[2:]


@pytest.mark.parametrize("batches", [True, 2])
def test_fast_dev_run_runs_few_batches_and_writes_nothing(in_tmp_path, batches):
    class Wishes(BoringModule):
        def configure_callbacks(self):
            return [ModelCheckpoint()]

    watch = Watch()
    callbacks = [watch, ModelCheckpoint(monitor="nothing")]
    trainer = kgenre.Trainer(max_epochs=9, fast_dev_run=batches, overfit_batches=0.5, callbacks=callbacks)
    trainer.callbacks.append(ModelCheckpoint(monitor="val/loss"))
    trainer.fit(Wishes(), boring_batches(6), boring_batches(6))
    trainer.test(dataloaders=boring_batches(6), verbose=False)
    assert len(watch.batches) == watch.evaluated["validation"] == watch.evaluated["test"] == int(batches)
    assert watch.sanity == 0
    assert trainer.log_dir is None
    assert list(in_tmp_path.iterdir()) == []


# --- validation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "validations"),
    [
        ({}, [6, 12]),
        ({"val_check_interval": 1.0}, [6, 12]),
        ({"val_check_interval": 0.5}, [3, 6, 9, 12]),
        ({"val_check_interval": 0.1}, [*range(1, 13)]),  # less than a batch
        ({"val_check_interval": 2}, [2, 4, 6, 8, 10, 12]),
        ({"val_check_interval": np.int64(3)}, [3, 6, 9, 12]),
        ({"val_check_interval": 4}, [4, 10]),
        ({"check_val_every_n_epoch": 2}, [12]),
        ({"check_val_every_n_epoch": 2, "val_check_interval": 0.5}, [9, 12]),
        ({"check_val_every_n_epoch": 3}, []),
        ({"check_val_every_n_epoch": None, "val_check_interval": 4}, [4, 8, 12]),
        ({"check_val_every_n_epoch": None, "val_check_interval": 5}, [5, 10]),
        ({"check_val_every_n_epoch": None, "val_check_interval": 9}, [9]),
    ],
)
def test_when_validation_runs(arguments, validations):
    watch, _ = watched(6, 1, max_epochs=2, num_sanity_val_steps=0, **arguments)
    assert watch.validations == validations


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("batches", [3, 4])
def test_max_steps_at_the_end_of_unsized_data_ends_the_epoch(accumulate, batches):
    steps = 2 * -(-batches // accumulate)
    arguments = {"max_epochs": 9, "max_steps": steps, "accumulate_grad_batches": accumulate}
    watch, trainer = watched(Unknown(batches), 1, num_sanity_val_steps=0, **arguments)
    assert (watch.validations, trainer.current_epoch, trainer.batch_idx) == ([steps // 2, steps], 2, 0)


def test_val_check_interval_with_unsized_data():
    watch, _ = watched(Unknown(4), 1, val_check_interval=2, max_epochs=2)
    assert watch.validations == [2, 4, 6, 8]
    with pytest.raises(TrainerError, match=r"val_check_interval=0.5: a fraction needs training data of known"):
        watched(Unknown(4), 1, val_check_interval=0.5)
    endless, _ = watched(Unknown(12), 1, val_check_interval=5, check_val_every_n_epoch=None, num_sanity_val_steps=0)
    assert endless.validations == [5, 10]


@pytest.mark.parametrize("stop", [None, 3, 8])
@pytest.mark.parametrize("is_known", [True, False], ids=["of known length", "of unknown length"])
def test_val_check_interval_across_epochs_of_different_lengths(is_known, stop, tmp_path):
    class Growing(kgenre.DataModule):
        def train_dataloader(self):
            count = 3 + self.trainer.current_epoch
            return boring_batches(count) if is_known else Unknown(count)

        def val_dataloader(self):
            return boring_batches(1)

    def fit(max_steps, **arguments):
        flags = {"val_check_interval": 5, "check_val_every_n_epoch": None, "reload_dataloaders_every_n_epochs": 1}
        trainer = quiet_trainer(max_epochs=4, max_steps=max_steps, num_sanity_val_steps=0, callbacks=watch, **flags)
        trainer.fit(BoringModule(), datamodule=Growing(), **arguments)
        return trainer

    watch = Watch()
    if stop is None:
        fit(-1)
    else:
        fit(stop).save_checkpoint(tmp_path / "stopped")
        fit(-1, ckpt_path=tmp_path / "stopped")
    assert watch.validations == [5, 10, 15]


def test_val_check_interval_beyond_an_epoch():
    with pytest.raises(TrainerError, match="val_check_interval=7 is more than the 6 batches"):
        watched(6, 1, val_check_interval=7)


@pytest.mark.parametrize(("steps", "seen"), [(0, 0), (2, 2), (9, 3), (-1, 3)])
def test_sanity_check(steps, seen):
    watch, _ = watched(1, 3, num_sanity_val_steps=steps)
    assert watch.sanity == seen
    assert watch.evaluated["validation"] == 3


@pytest.mark.parametrize("empty", [[], {}], ids=repr)
def test_empty_validation_data_are_warned_about(caplog, empty):
    caplog.set_level("WARNING", "kgenre")
    quiet_trainer(max_epochs=2).fit(BoringModule(), boring_batches(1), empty)
    with pytest.raises(TrainerError, match="The test data yielded no batches"):
        quiet_trainer().test(BoringModule(), empty)
    assert caplog.messages == ["The val data yielded no batches: this fit runs no validation."]
    caplog.clear()
    quiet_trainer(limit_val_batches=0).fit(BoringModule(), boring_batches(1), boring_batches(1))
    assert not caplog.messages


def test_a_module_without_validation_step_is_not_validated(caplog):
    class OnlyTrains(kgenre.Module):
        __init__ = BoringModule.__init__
        error = BoringModule.error
        training_step = BoringModule.training_step
        configure_optimizers = BoringModule.configure_optimizers

        def on_validation_start(self):
            raise AssertionError

    quiet_trainer().fit(OnlyTrains(), boring_batches(1))
    assert "runs no validation" not in caplog.text
    quiet_trainer().fit(OnlyTrains(), boring_batches(1), boring_batches(1))
    assert "OnlyTrains has no validation_step: this fit runs no validation" in caplog.text


# --- loggers, callbacks and folders -------------------------------------------------------------------------------


@pytest.mark.parametrize("logger", ["tensorboard", CSVLogger, [CSVLogger(), None]])
def test_invalid_loggers_are_rejected(logger):
    with pytest.raises(kgenre.TrainerError, match=r"logger=.* takes True .*TensorBoardLogger\(\)\. Received: "):
        kgenre.Trainer(logger=logger)


def test_default_loggers_and_callbacks():
    trainer = kgenre.Trainer()
    assert [type(logger) for logger in trainer.loggers] == [TensorBoardLogger, CSVLogger]
    names = [type(callback).__name__ for callback in trainer.callbacks]
    assert names == ["ProgressBar", "ModelSummary", "ThroughputMonitor", "ModelCheckpoint"]
    assert trainer.checkpoint_callback is not None


def test_enable_flags_with_given_callbacks():
    bar, logger = ProgressBar(refresh_rate=7), InMemoryLogger()
    trainer = kgenre.Trainer(callbacks=bar, logger=logger, enable_model_summary=False, enable_checkpointing=False)
    assert trainer.callbacks[0] is bar
    assert [type(callback).__name__ for callback in trainer.callbacks] == ["ProgressBar", "ThroughputMonitor"]
    assert trainer.logger is logger
    with pytest.raises(TrainerError, match="enable_checkpointing=False, but callbacks contains a ModelCheckpoint"):
        kgenre.Trainer(callbacks=[ModelCheckpoint()], enable_checkpointing=False)
    with pytest.raises(TrainerError, match=r"barebones=True, but .* Drop one .*--trainer.callbacks null"):
        kgenre.Trainer(callbacks=[ModelCheckpoint()], barebones=True)


def test_nothing_is_written_without_loggers_and_checkpoints(in_tmp_path):
    _, trainer = watched(2, 1)
    assert list(in_tmp_path.iterdir()) == []
    assert trainer.log_dir is None


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        ({}, "runs/boring_module/version_0"),
        ({"default_root_dir": "elsewhere", "name": "mine"}, "elsewhere/mine/version_0"),
        ({"logger": CSVLogger("a", name="b"), "name": "mine"}, "a/b/version_0"),
    ],
)
def test_where_a_run_is_written(in_tmp_path, arguments, folder):
    _, trainer = watched(1, **{"logger": CSVLogger()} | arguments)
    assert trainer.log_dir.resolve() == in_tmp_path / folder
    assert trainer.log_dir.is_dir()


# --- the optimizer ----------------------------------------------------------------------------------------------


def test_learning_rates_can_be_read_and_set():
    rates = []

    def change(trainer, module):
        rates.extend(trainer.learning_rates())
        trainer.set_learning_rate(0.25)

    module = BoringModule(learning_rate=0.5)
    trainer = quiet_trainer(max_epochs=2, callbacks=Lambdas(on_train_epoch_start=change))
    trainer.fit(module, boring_batches(1))
    assert rates == [0.5, 0.25]
    assert float(trainer.optimizers[0].learning_rate) == 0.25


def test_learning_rate_set_in_a_hook_can_be_read_there():
    class Sets(BoringModule):
        def on_train_epoch_start(self):
            self.trainer.optimizers[0].learning_rate = 0.25
            self.read = self.trainer.learning_rates()

    module = Sets()
    quiet_trainer().fit(module, boring_batches(1))
    assert module.read == [0.25]


@pytest.mark.parametrize(
    ("arguments", "updates"),
    [({"accumulate_grad_batches": 4}, 4), ({"limit_train_batches": 3, "max_steps": 5}, 5)],
)
def test_estimated_stepping_batches(arguments, updates):
    class Asks(BoringModule):
        def configure_optimizers(self):
            self.asked = self.trainer.estimated_stepping_batches
            return super().configure_optimizers()

    module = Asks()
    trainer = quiet_trainer(max_epochs=2, **arguments)
    trainer.fit(module, boring_batches(6))
    assert module.asked == trainer.global_step == updates


def test_jit_compile_trains_to_the_same_loss():
    losses = []
    for jit_compile in (None, True):
        trainer = quiet_trainer(jit_compile=jit_compile)
        trainer.fit(BoringModule(), boring_batches(2), boring_batches(1))
        losses.append(trainer.callback_metrics["val/loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


# --- invalid values ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_epochs": -2},
        {"fast_dev_run": -1},
        {"reload_dataloaders_every_n_epochs": -1},
        {"max_steps": -2},
        {"limit_train_batches": -1},
        {"limit_val_batches": 1.5},
        {"limit_test_batches": -0.1},
        {"overfit_batches": -1},
        {"overfit_batches": 2.5},
        {"log_every_n_steps": -1},
        {"val_check_interval": 0},
        {"val_check_interval": 1.5},
        {"val_check_interval": 0.0},
        {"check_val_every_n_epoch": 0},
        {"num_sanity_val_steps": -2},
        {"precision": "64-true"},
        {"gradient_clip_val": 0},
        {"gradient_clip_val": -float("inf")},
    ],
    ids=str,
)
def test_errors_name_the_argument_and_the_value(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(TrainerError, match=rf"^{name} .*Received: {re.escape(repr(value))}$"):
        kgenre.Trainer(**arguments)


@pytest.mark.parametrize(
    ("arguments", "takes"),
    [
        ({"max_epochs": "3"}, "a whole number or None"),
        ({"max_epochs": 2.5}, "a whole number or None"),
        ({"max_steps": None}, "a whole number"),
        ({"gradient_clip_val": float("nan")}, "a number or None"),
        ({"fast_dev_run": None}, "a whole number or True or False"),
        ({"limit_predict_batches": "half"}, "a number or None"),
        ({"val_check_interval": "00:01:00:00"}, "a number"),
        ({"val_check_interval": None}, "a number"),
        ({"gradient_clip_val": "1"}, "a number or None"),
        ({"gradient_clip_algorithm": "l2"}, "'norm' or 'value'"),
        ({"enable_progress_bar": "no"}, "True or False or None"),
        ({"steps_per_execution": "many"}, "'auto' or a whole number"),
        ({"name": 7}, "text or None"),
    ],
    ids=str,
)
def test_wrong_types_name_the_argument_and_the_value(arguments, takes):
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=rf"^Trainer\({name}=...\) takes {takes}. Received: {re.escape(repr(value))}$"):
        kgenre.Trainer(**arguments)


@pytest.mark.parametrize("fraction", [np.float32(0.5), np.float64(0.5)], ids=repr)
def test_fractions_may_be_numpy_scalars(fraction):
    watch, _ = watched(6, 1, max_epochs=1, val_check_interval=fraction, limit_train_batches=fraction)
    assert len(watch.batches) == 3
    assert watch.validations == [1, 2, 3]


def test_default_root_dir_none_means_the_default():
    assert str(kgenre.Trainer(default_root_dir=None).default_root_dir) == "runs"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (keras.callbacks.ReduceLROnPlateau(), r"Keras's ReduceLROnPlateau; wrap it, KerasCallback\("),
        (EarlyStopping, r"the class EarlyStopping; pass an instance, EarlyStopping\("),
        (lambda trainer, module: None, r"a function; name its hook, as in LambdaCallback\("),
        (3, r"'3' \(int\)"),
    ],
    ids=["keras", "class", "function", "number"],
)
def test_invalid_callbacks_are_rejected(given, message):
    with pytest.raises(TrainerError, match=rf"\(callbacks=...\): not a kgenre callback. Received: {message}"):
        kgenre.Trainer(callbacks=[given])
    module = BoringModule()
    module.configure_callbacks = lambda: [given]
    with pytest.raises(TrainerError, match=rf"BoringModule.configure_callbacks: not .*{message}"):
        quiet_trainer().fit(module, boring_batches(1))


# --- conflicting flags --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "costs",
    [
        {"enable_checkpointing": True},
        {"enable_progress_bar": True},
        {"enable_model_summary": True},
        {"logger": True},
        {"logger": InMemoryLogger()},
        {"log_every_n_steps": 10},
        {"num_sanity_val_steps": 2},
        {"fast_dev_run": True},
        {"profiler": "simple"},
    ],
    ids=lambda costs: next(iter(costs)),
)
def test_barebones_rejects_costly_flags_by_name(costs):
    ((name, value),) = costs.items()
    shown = "..." if name == "logger" and value is not True else repr(value)
    with pytest.raises(TrainerError, match=rf"barebones=True, {name}={re.escape(shown)}\): barebones turns off"):
        kgenre.Trainer(barebones=True, **costs)


def test_barebones_trains_and_does_nothing_else(in_tmp_path, capsys):
    module = BoringModule()
    trainer = kgenre.Trainer(max_epochs=2, barebones=True)
    assert trainer.callbacks == trainer.loggers == []
    trainer.fit(module, boring_batches(3), boring_batches(2))
    assert trainer.global_step == 6
    assert trainer.callback_metrics == {}  # self.log does nothing
    assert list(in_tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""
    same = BoringModule()
    quiet_trainer(max_epochs=2).fit(same, boring_batches(3))
    assert weights_of(module)["model.layers.0.kernel"].tolist() == weights_of(same)["model.layers.0.kernel"].tolist()


@pytest.mark.parametrize("profiler", ["fast", True, SimpleProfiler])
def test_other_profilers_are_rejected(profiler):
    said = "profiler must be one of 'simple', 'advanced', 'trace', or a Profiler. Received: "
    with pytest.raises(TrainerError, match=said + re.escape(repr(profiler))):
        kgenre.Trainer(profiler=profiler)
