"""Expectations of Lightning's own test suite, flag by flag, checked on kgenre's trainer.

Its suite: https://github.com/Lightning-AI/pytorch-lightning/tree/master/tests/tests_pytorch (trainer/flags,
callbacks/test_early_stopping.py, callbacks/test_timer.py, loops). As there, the data are 64 batches. Intended
differences are at the end. ``tests/test_lightning_parity.py`` maps each of Lightning's tests to ours.
"""

import math

import keras
import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, boring_dataset, quiet_trainer, weights_of

import kgenre
from kgenre import TrainerError
from kgenre.callbacks import EarlyStopping, GradientAccumulationScheduler, ModelCheckpoint, Timer
from kgenre.callbacks.monitor import MonitorError
from kgenre.checkpoints import CheckpointError
from kgenre.loggers import CSVLogger
from kgenre.tuning import Tuner

pytestmark = pytest.mark.usefixtures("in_tmp_path")


class Boring(BoringModule):
    """Like Lightning's BoringModel, it brings its own 64 batches, here of one row each."""

    def train_dataloader(self):
        return boring_batches(64, rows=1)

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


class Scores(Boring):
    """Logs a given value in each validation (or at the end of each training epoch)."""

    def __init__(self, scores, name="abc", in_training=False):
        super().__init__()
        self.scores, self.name, self.in_training = scores, name, in_training

    def on_validation_epoch_end(self):
        if not self.in_training and not self.trainer.sanity_checking:
            self.log(self.name, self.scores[self.current_epoch])

    def on_train_epoch_end(self):
        if self.in_training:
            self.log(self.name, self.scores[self.current_epoch])


def stopped_epoch(scores, *callbacks, in_training=False, **arguments):
    trainer = quiet_trainer(
        max_epochs=10, callbacks=[*callbacks], limit_train_batches=2, limit_val_batches=1, **arguments
    )
    trainer.fit(Scores(scores, in_training=in_training))
    return trainer.current_epoch - 1


def validations(**arguments):
    """Train; return after how many batches (over all epochs) validation ran, the number of epochs and the trainer."""
    seen, epochs = [], []

    def note(trainer, module):
        if not trainer.sanity_checking:
            seen.append(trainer.current_epoch * trainer.num_training_batches + trainer.batch_idx)

    callback = Lambdas(on_validation_start=note, on_train_epoch_start=lambda *_: epochs.append(1))
    trainer = quiet_trainer(callbacks=callback, **{"limit_val_batches": 1, "limit_train_batches": 64} | arguments)
    trainer.fit(Boring())
    return seen, len(epochs), trainer


# --- max_epochs, max_steps, min_epochs, min_steps (flags/test_min_max_epochs.py, test_trainer.py) ------------------


@pytest.mark.parametrize(
    ("min_epochs", "max_epochs", "min_steps", "max_steps", "steps"),
    [
        (None, 3, None, -1, 192),
        (None, None, None, 20, 20),
        (None, 3, None, 20, 20),
        (None, None, 10, 20, 20),
        (1, 3, None, -1, 192),
        (1, None, None, 20, 20),
        (None, 3, 10, -1, 192),
        (None, 1, None, 100, 64),
        (None, 3, None, 128, 128),
    ],
)
def test_min_max_steps_epochs(min_epochs, max_epochs, min_steps, max_steps, steps):
    flags = {"min_epochs": min_epochs, "max_epochs": max_epochs, "min_steps": min_steps, "max_steps": max_steps}
    trainer = quiet_trainer(limit_val_batches=0, **flags)
    trainer.fit(Boring())
    assert trainer.global_step == steps
    assert trainer.state.status == "finished"


@pytest.mark.parametrize(
    ("batches", "min_epochs", "min_steps", "steps"),
    [
        (3, 0, 10, 10),
        (5, 0, 10, 10),
        (3, 2, 0, 6),
        (5, 2, 0, 10),
        (3, 1, 10, 10),
        (5, 1, 10, 10),
        (3, 3, 10, 10),
        (5, 3, 10, 15),
    ],
)
def test_should_stop_waits_for_min_epochs_and_min_steps(batches, min_epochs, min_steps, steps):
    def stop(trainer, module):
        trainer.should_stop = True

    trainer = quiet_trainer(
        max_epochs=9,
        min_epochs=min_epochs,
        min_steps=min_steps,
        limit_train_batches=batches,
        limit_val_batches=0,
        callbacks=Lambdas(on_train_epoch_end=stop),
    )
    trainer.fit(Boring())
    assert trainer.should_stop
    assert trainer.global_step == steps


def test_unlimited_and_zero_durations():
    assert quiet_trainer(max_epochs=-1).max_epochs == math.inf
    assert quiet_trainer(max_epochs=None).max_epochs == 1000
    for flags in ({"max_epochs": 0}, {"max_steps": 0}, {"limit_train_batches": 0}, {"limit_train_batches": 0.0}):
        trainer = quiet_trainer(**flags)
        trainer.fit(Boring())
        assert (trainer.global_step, trainer.current_epoch, trainer.state.status) == (0, 0, "finished")


@pytest.mark.parametrize(
    ("run", "zero", "read"),
    [
        ("fit", ["train", "val"], ["train"]),  # one batch, from whose shapes the step is built
        ("fit", ["train"], ["train", "val"]),
        ("fit", ["val"], ["train"] * 5),
        ("validate", ["val"], []),
        ("test", ["test"], []),
        ("predict", ["predict"], []),
    ],
)
def test_sources_limited_to_zero_batches_are_not_read(run, zero, read):
    class Source:
        def __init__(self, stage):
            self.stage = stage

        def __len__(self):
            return 4

        def __iter__(self):
            for batch in boring_batches(4):
                found.append(self.stage)
                yield batch

    found, module = [], Boring()
    for stage in ("train", "val", "test", "predict"):
        setattr(module, f"{stage}_dataloader", lambda stage=stage: Source(stage))
    trainer = quiet_trainer(**{f"limit_{stage}_batches": 0 for stage in zero})
    getattr(trainer, run)(module)
    assert found == read


# --- val_check_interval, check_val_every_n_epoch (flags/test_val_check_interval.py, test_check_val_every_n_epoch.py) -


@pytest.mark.parametrize("denominator", [1, 3, 4])
def test_val_check_interval_as_a_fraction(denominator):
    seen, epochs, _ = validations(max_epochs=3, val_check_interval=1 / denominator)
    assert (epochs, len(seen)) == (3, 3 * denominator)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_val_check_interval_across_epochs(accumulate):
    seen, epochs, trainer = validations(
        limit_train_batches=4,
        max_epochs=3,
        val_check_interval=3,
        check_val_every_n_epoch=None,
        accumulate_grad_batches=accumulate,
    )
    assert seen == [3, 6, 9, 12]
    assert (epochs, trainer.global_step) == (3, 12 // accumulate)


def test_impossible_val_check_interval():
    with pytest.raises(TrainerError, match="val_check_interval=100 is more than the 10 batches"):
        quiet_trainer(limit_train_batches=10, val_check_interval=100).fit(Boring())
    with pytest.raises(TrainerError, match=r"check_val_every_n_epoch=None .* must be a number of batches"):
        quiet_trainer(val_check_interval=0.5, check_val_every_n_epoch=None)


@pytest.mark.parametrize(("max_epochs", "every", "expected"), [(1, 1, 1), (4, 1, 4), (4, 3, 1), (4, 2, 2), (4, 5, 0)])
def test_check_val_every_n_epoch(max_epochs, every, expected):
    seen, _, trainer = validations(max_epochs=max_epochs, check_val_every_n_epoch=every, limit_train_batches=2)
    assert (len(seen), trainer.current_epoch) == (expected, max_epochs)


def test_check_val_every_n_epoch_with_max_steps():
    seen, _, trainer = validations(max_epochs=-1, max_steps=8, check_val_every_n_epoch=3, limit_train_batches=2)
    assert (seen, trainer.current_epoch, trainer.global_step) == ([6], 4, 8)


def test_val_check_interval_is_ignored_without_validation():
    trainer = quiet_trainer(limit_train_batches=5, val_check_interval=10, limit_val_batches=0)
    trainer.fit(Boring())
    assert trainer.global_step == 5


# --- limit_*_batches, overfit_batches, fast_dev_run -----------------------------------------------------------------


@pytest.mark.parametrize(("limit", "batches"), [(0.1, 6), (0.5, 32), (1.0, 64), (1, 1), (10, 10), (1000, 64)])
def test_limits_of_all_stages(limit, batches):
    limits = {f"limit_{stage}_batches": limit for stage in ("train", "val", "test", "predict")}
    trainer = quiet_trainer(num_sanity_val_steps=0, **limits)
    trainer.fit(Boring())
    assert (trainer.num_training_batches, trainer.num_val_batches, trainer.global_step) == (batches,) * 3
    assert len(trainer.predict(Boring())) == batches
    trainer.test(Boring(), verbose=False)
    assert trainer.num_evaluation_batches == batches


@pytest.mark.parametrize(("overfit", "batches"), [(1, 1), (2, 2), (0.1, 6), (0.25, 16), (1.0, 64)])
def test_overfit_batches_limits_training_and_validation_only(overfit, batches):
    trainer = quiet_trainer(overfit_batches=overfit)
    trainer.fit(Boring())
    assert (trainer.num_training_batches, trainer.num_val_batches) == (batches, batches)
    trainer.test(Boring(), verbose=False)
    assert trainer.num_evaluation_batches == 64
    assert len(trainer.predict(Boring())) == 64


@pytest.mark.parametrize("fast_dev_run", [1, 4])
def test_fast_dev_run(in_tmp_path, fast_dev_run):
    names = ("on_train_batch_end", "on_validation_batch_end", "on_test_batch_end", "on_train_epoch_end")
    calls = dict.fromkeys(names, 0)

    def count(name):
        def hook(*_):
            calls[name] += 1

        return hook

    trainer = kgenre.Trainer(
        fast_dev_run=fast_dev_run,
        val_check_interval=2,
        logger=CSVLogger(),
        log_every_n_steps=1,
        callbacks=[ModelCheckpoint(), Lambdas(**{name: count(name) for name in calls})],
    )
    trainer.fit(Boring())
    trainer.test(Boring())
    assert list(calls.values()) == [fast_dev_run, fast_dev_run, fast_dev_run, 1]
    assert (trainer.global_step, trainer.max_epochs, trainer.num_sanity_val_steps) == (fast_dev_run, 1, 0)
    assert (trainer.val_check_interval, trainer.check_val_every_n_epoch) == (1.0, 1)
    assert trainer.logger is trainer.checkpoint_callback is None
    assert list(in_tmp_path.iterdir()) == []
    assert Tuner(trainer).lr_find(Boring()) is Tuner(trainer).scale_batch_size(Boring()) is None


def test_fast_dev_run_has_no_best_checkpoint():
    trainer = kgenre.Trainer(fast_dev_run=True)
    trainer.fit(Boring())
    with pytest.raises(CheckpointError, match="ckpt_path='best': no best checkpoint"):
        trainer.test(ckpt_path="best")


# --- accumulate_grad_batches (trainer/optimization, utilities/test_estimated_stepping_batches.py) ---------------------


@pytest.mark.parametrize(
    ("batches", "accumulate", "max_epochs", "max_steps", "updates"),
    [
        (64, 1, 1, -1, 64),
        (64, 2, 1, -1, 32),
        (64, 12, 1, -1, 6),  # the last group has four batches
        (3, 5, 2, -1, 2),
        (64, 1, 2, 100, 100),
        (64, 2, 2, 100, 64),
        (64, 1, -1, 10, 10),
    ],
)
def test_estimated_stepping_batches(batches, accumulate, max_epochs, max_steps, updates):
    asked = []

    class Asks(Boring):
        def configure_optimizers(self):
            asked.append(self.trainer.estimated_stepping_batches)
            return super().configure_optimizers()

    trainer = quiet_trainer(
        limit_train_batches=batches,
        limit_val_batches=0,
        accumulate_grad_batches=accumulate,
        max_epochs=max_epochs,
        max_steps=max_steps,
    )
    trainer.fit(Asks())
    assert asked == [updates] == [trainer.global_step]


def test_estimate_for_unlimited_training_is_infinite():
    class Asks(Boring):
        def configure_optimizers(self):
            asked.append(self.trainer.estimated_stepping_batches)
            self.trainer.should_stop = True
            return super().configure_optimizers()

    asked = []
    quiet_trainer(max_epochs=-1, limit_val_batches=0).fit(Asks())
    assert asked == [math.inf]


# --- EarlyStopping (callbacks/test_early_stopping.py) ------------------------------------------------------------


@pytest.mark.parametrize("in_training", [False, True])
@pytest.mark.parametrize(
    ("losses", "patience", "epoch"),
    [([6, 5, 5, 5, 5, 5], 3, 4), ([6, 5, 4, 4, 3, 3], 1, 3), ([6, 5, 6, 5, 5, 5], 3, 4)],
)
def test_early_stopping_patience(losses, patience, epoch, in_training):
    stopping = EarlyStopping("abc", patience=patience, verbose=True, check_on_train_epoch_end=in_training)
    assert stopped_epoch(losses, stopping, in_training=in_training) == stopping.stopped_epoch == epoch


@pytest.mark.parametrize(
    ("thresholds", "losses", "epoch"),
    [
        ({}, [8, 4, 2, 3, 4, 5, 8, 10], 5),
        ({"stopping_threshold": 2.9}, [9, 8, 7, 6, 5, 6, 4, 3, 2, 1], 8),
        ({"divergence_threshold": 15.9}, [9, 4, 2, 16, 32, 64], 3),
        ({}, [4, 3, math.inf, 2, 1], 2),
        ({}, [4, 3, math.nan, 2, 1], 2),
    ],
)
def test_early_stopping_thresholds(thresholds, losses, epoch):
    assert stopped_epoch(losses, EarlyStopping("abc", **thresholds)) == epoch


@pytest.mark.parametrize("turned", [False, True])
def test_earliest_of_two_early_stoppings_stops(turned):
    class Two(Scores):
        def on_validation_epoch_end(self):
            super().on_validation_epoch_end()
            self.log("cba", 0.0)

    pair = [EarlyStopping("abc"), EarlyStopping("cba", patience=3)]
    trainer = quiet_trainer(max_epochs=10, callbacks=pair[::-1] if turned else pair, limit_train_batches=1)
    trainer.fit(Two([8, 4, 2, 3, 4, 5, 8, 10]))
    assert trainer.current_epoch - 1 == 3


@pytest.mark.parametrize(
    ("arguments", "batches"), [({"val_check_interval": 0.3}, 3 + 3), ({"check_val_every_n_epoch": 2}, 10 * 2 * 2)]
)
def test_early_stopping_checks_every_validation(arguments, batches):
    class Constant(Boring):
        def on_validation_epoch_end(self):
            self.log("foo", 1.0)

    trainer = quiet_trainer(
        max_epochs=9,
        callbacks=EarlyStopping("foo", patience=1),
        limit_train_batches=10,
        limit_val_batches=1,
        **arguments,
    )
    trainer.fit(Constant())
    assert trainer.global_step == batches


# --- on_train_batch_start, the seed (loops/test_training_loop.py) ------------------------------------------------


@pytest.mark.parametrize("batch_idx", [0, 1, 3])
def test_schedule_advances_if_minus_one_skips_the_rest(batch_idx):
    class Decays(Boring):
        def configure_optimizers(self):
            optimizer = keras.optimizers.SGD(0.1)
            return {"optimizer": optimizer, "lr_scheduler": lambda epoch, rate: rate * 0.1 if epoch else rate}

    skip = Lambdas(on_train_batch_start=lambda trainer, module, batch, i: -1 if i == batch_idx else None)
    trainer = quiet_trainer(max_epochs=3, limit_train_batches=4, limit_val_batches=0, callbacks=skip)
    trainer.fit(Decays())
    assert (trainer.current_epoch, trainer.global_step) == (3, 3 * batch_idx)
    assert trainer.learning_rates() == pytest.approx([0.1 * 0.1**2])


def test_sanity_check_keeps_the_random_state():
    class DropsInValidation(BoringModule):
        def validation_step(self, batch, batch_idx):
            self.log("val/loss", self.error(batch, training=True))

    def rows(num_sanity_val_steps):
        kgenre.seed_everything(123)
        seen = []
        callback = Lambdas(
            on_train_batch_start=lambda trainer, module, batch, _: seen.append(trainer.engine.to_host(batch))
        )
        module = DropsInValidation(dropout=0.5)
        trainer = quiet_trainer(callbacks=callback, num_sanity_val_steps=num_sanity_val_steps)
        trainer.fit(module, boring_dataset(), boring_dataset(seed=5))
        return [batch["x"] for batch in seen], weights_of(module)["model.layers.1.kernel"]

    (without, kernel), (with_check, same) = rows(0), rows(2)
    np.testing.assert_array_equal(without, with_check)
    np.testing.assert_array_equal(kernel, same)


class CountsValidations(BoringModule):
    """Counts the validation batches in a variable."""

    def __init__(self):
        super().__init__()
        self.seen = keras.Variable(0.0, trainable=False)

    def validation_step(self, batch, batch_idx):
        self.seen.assign(self.seen + 1)
        super().validation_step(batch, batch_idx)


@pytest.mark.parametrize("steps", [0, 2])
def test_sanity_check_keeps_the_variables(steps):
    seen = []
    look = Lambdas(on_train_start=lambda trainer, module: seen.append(float(weights_of(module)["seen"])))
    module = CountsValidations()
    quiet_trainer(callbacks=look, num_sanity_val_steps=steps).fit(module, boring_batches(3), boring_batches(3))
    assert [*seen, float(weights_of(module)["seen"])] == [0, 3]


def test_interrupted_validation_that_is_repeated_counts_once():
    def stop(trainer, module, outputs, batch, batch_idx, dataloader_idx):
        if trainer.global_step == 3 and batch_idx == 1 and not trainer.resumed:
            raise KeyboardInterrupt

    for ckpt_path in (None, "last"):
        callbacks = [Lambdas(on_validation_batch_end=stop), ModelCheckpoint()]
        trainer = quiet_trainer(callbacks=callbacks, enable_checkpointing=True, num_sanity_val_steps=0)
        module = CountsValidations()
        trainer.fit(module, boring_batches(3), boring_batches(3), ckpt_path=ckpt_path)
        assert trainer.interrupted == (ckpt_path is None)
    assert trainer.resumed
    assert weights_of(module)["seen"] == 3


def test_sanity_check_keeps_the_states_of_recurrent_layers():
    class Stateful(BoringModule):
        def __init__(self):
            super().__init__()
            both_ways = keras.layers.Bidirectional(keras.layers.SimpleRNN(2, stateful=True), merge_mode="sum")
            stacked = keras.layers.RNN([keras.layers.LSTMCell(3), keras.layers.GRUCell(2)], stateful=True)
            parts = [both_ways, keras.layers.Reshape((2, 1)), stacked]
            self.model = keras.Sequential([keras.Input((4, 1), batch_size=8), *parts])

        def error(self, batch, training=False):
            return super().error(batch | {"x": batch["x"][..., None]}, training)

    def note(trainer, module):
        states.append([array for name, array in weights_of(module).items() if ".states." in name])

    states = []
    trainer = quiet_trainer(callbacks=Lambdas(on_sanity_check_end=note, on_train_start=note))
    trainer.fit(Stateful(), boring_batches(1), boring_batches(1))
    checked, training = states
    assert len(checked) == 5
    assert all(state.any() for state in checked)
    assert not any(state.any() for state in training)


# --- max_time (callbacks/test_timer.py) -----------------------------------------------------------------------------


@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_timer_of_zero_seconds_trains_nothing(interval):
    trainer = quiet_trainer(max_epochs=9, callbacks=Timer({"seconds": 0}, interval=interval))
    trainer.fit(Boring())
    assert (trainer.global_step, trainer.current_epoch) == (0, 0)


# --- intended differences from Lightning --------------------------------------------------------------------


def test_differs_should_stop_stops_inside_an_epoch():
    """Lightning validates once more and counts the epoch. Here a resumed run continues with the very next batch."""
    seen = []

    def stop(trainer, module, outputs, batch, batch_idx):
        trainer.should_stop = batch_idx == 4

    callback = Lambdas(on_train_batch_end=stop, on_validation_start=lambda *_: seen.append(1))
    trainer = quiet_trainer(max_epochs=2, limit_train_batches=10, num_sanity_val_steps=0, callbacks=callback)
    trainer.fit(Boring())
    assert (trainer.global_step, trainer.current_epoch, trainer.batch_idx, seen) == (5, 0, 5, [])


def test_differs_current_epoch_counts_finished_epochs_only():
    """Lightning also counts an epoch that max_steps cuts short."""
    trainer = quiet_trainer(max_epochs=-1, max_steps=3, limit_train_batches=2, limit_val_batches=0)
    trainer.fit(Boring())
    assert (trainer.current_epoch, trainer.batch_idx) == (1, 1)


def test_differs_second_fit_resets_the_counters():
    """Lightning keeps its counters, so that a second fit does nothing."""
    trainer, module = quiet_trainer(limit_val_batches=0), Boring()
    trainer.fit(module)
    trainer.fit(module)
    assert (trainer.current_epoch, trainer.global_step) == (1, 64)


def test_differs_fast_dev_run_detects_an_unlogged_monitor():
    """Lightning's EarlyStopping does not check under fast_dev_run; the real run then fails after its first epoch."""
    with pytest.raises(MonitorError, match="no step logs this value"):
        quiet_trainer(fast_dev_run=True, callbacks=EarlyStopping("foo")).fit(Boring())


def test_differs_estimate_with_changing_accumulation():
    """Lightning raises an error."""
    scheduler = GradientAccumulationScheduler({0: 4, 1: 64})

    class Asks(Boring):
        def configure_optimizers(self):
            asked.append(self.trainer.estimated_stepping_batches)
            return super().configure_optimizers()

    asked = []
    trainer = quiet_trainer(max_epochs=3, limit_val_batches=0, callbacks=scheduler)
    trainer.fit(Asks())
    assert asked == [16 + 1 + 1] == [trainer.global_step]


def test_differs_no_data_is_an_error():
    """Lightning warns and trains nothing."""
    with pytest.raises(TrainerError, match="The train data yielded no batches"):
        quiet_trainer().fit(BoringModule(), [])


def test_differs_epochs_without_validation_are_saved_too():
    """Lightning saves only epochs with validation. Here a run can resume from every epoch."""
    trainer = quiet_trainer(
        max_epochs=4,
        limit_train_batches=1,
        limit_val_batches=1,
        check_val_every_n_epoch=2,
        callbacks=ModelCheckpoint(save_top_k=-1),
        enable_checkpointing=True,
    )
    trainer.fit(Boring())
    assert len(list((trainer.log_dir / "checkpoints").glob("step=*"))) == 4


def test_differs_resuming_a_finished_run_does_nothing():
    """Lightning rejects a max_epochs below the checkpoint's epoch. Here resuming then does nothing."""
    trainer = quiet_trainer(max_epochs=3, limit_val_batches=0)
    trainer.fit(Boring())
    path = trainer.save_checkpoint("end")
    again = quiet_trainer(max_epochs=2, limit_val_batches=0)
    again.fit(Boring(), ckpt_path=path)
    assert (again.current_epoch, again.global_step) == (3, 192)
