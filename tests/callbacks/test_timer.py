"""Timer and ``max_time``: time is measured, and training ends at the limit."""

import logging
import math
from datetime import timedelta

import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, quiet_trainer

from kgenre import TrainerError
from kgenre.callbacks import ModelCheckpoint, TerminateOnNaN, Timer
from kgenre.callbacks.duration import read_duration


@pytest.fixture
def clock(monkeypatch):
    """A fake clock, in seconds."""

    class Clock:
        now = 1000.0

        def __call__(self):
            return self.now

        def ticking(self, seconds):
            """Return a callback that lets each training batch take this many seconds."""

            def tick(trainer, module, batch, batch_idx):
                self.now += seconds

            return Lambdas(on_train_batch_start=tick)

    clock = Clock()
    monkeypatch.setattr("kgenre.callbacks.timer.monotonic", clock)
    return clock


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("00:00:00:05", 5),
        ("01:02:03:04", 93784),
        ("100:00:00:00", 8640000),
        ({"hours": 12}, 43200),
        ({"days": 1, "minutes": 0.5}, 86430),
        (timedelta(minutes=2), 120),
        ("00:00:00:00", 0),
    ],
    ids=str,
)
def test_durations(given, seconds):
    assert read_duration("max_time", given) == timedelta(seconds=seconds)
    assert Timer(given).time_remaining() == seconds


@pytest.mark.parametrize(
    "wrong",
    ["12:00:00", "1h", "", "00:0:00:10", 90, 1.5, {}, {"hour": 1}, {"hours": "1"}, {"days": math.nan}, timedelta(-1)],
    ids=repr,
)
def test_invalid_durations(wrong):
    with pytest.raises(ValueError, match=r"Timer\(duration=...\) takes .*'DD:HH:MM:SS'.*'minutes': 30") as error:
        Timer(wrong)
    assert str(error.value).endswith(f"Received: {wrong!r}")
    with pytest.raises(TrainerError, match=r"^max_time takes a length of time"):
        quiet_trainer(max_time=wrong)


def test_wrong_interval():
    with pytest.raises(ValueError, match=r"Timer\(interval=...\) takes 'step' or 'epoch'. Received: 'batch'"):
        Timer("00:00:00:01", interval="batch")


# Batches take 10 seconds, epochs have 4.
@pytest.mark.parametrize(
    ("interval", "seconds", "steps"),
    [
        ("step", 0, 0),
        ("step", 1, 1),
        ("step", 50, 5),
        ("step", 51, 6),
        ("epoch", 0, 0),
        ("epoch", 1, 4),
        ("epoch", 41, 8),
    ],
)
def test_when_it_stops(clock, interval, seconds, steps):
    timer = Timer({"seconds": seconds}, interval)
    trainer = quiet_trainer(max_epochs=5, callbacks=[clock.ticking(10), timer])
    trainer.fit(BoringModule(), boring_batches(4))
    assert trainer.global_step == steps
    assert timer.time_elapsed() == 10 * steps
    assert timer.time_remaining() == seconds - 10 * steps


def test_without_a_duration_it_only_measures(clock):
    timer = Timer()
    trainer = quiet_trainer(max_epochs=2, callbacks=[clock.ticking(3), timer])
    trainer.fit(BoringModule(), boring_batches(4))
    clock.now += 100  # after training
    assert trainer.global_step == 8
    assert (timer.time_elapsed(), timer.time_remaining()) == (24, math.inf)


def test_validation_and_test_have_their_own_clocks(clock):
    def tick(trainer, module, batch, batch_idx):
        clock.now += 7

    timer = Timer()
    ticking = Lambdas(on_validation_batch_start=tick, on_test_batch_start=tick)
    trainer = quiet_trainer(callbacks=[ticking, timer], num_sanity_val_steps=0)
    trainer.fit(BoringModule(), boring_batches(1), boring_batches(2))
    trainer.test(dataloaders=boring_batches(3), verbose=False)
    assert [timer.time_elapsed(stage) for stage in ("train", "validate", "test")] == [14, 14, 21]


def test_logs_the_time_limit(clock, caplog):
    with caplog.at_level(logging.INFO, "kgenre"):
        trainer = quiet_trainer(max_epochs=5, callbacks=clock.ticking(10), max_time="00:00:00:25")
        trainer.fit(BoringModule(), boring_batches(4))
    assert trainer.global_step == 3
    assert [record.message for record in caplog.records[1:]] == ["Time limit reached: trained for 0:00:30 of 0:00:25."]


@pytest.mark.usefixtures("in_tmp_path")
def test_resumed_run_continues_counting(clock):
    def fit(max_epochs, timer, ckpt_path=None):
        trainer = quiet_trainer(
            max_epochs=max_epochs,
            callbacks=[clock.ticking(10), timer, ModelCheckpoint(monitor=None)],
            enable_checkpointing=True,
        )
        trainer.fit(BoringModule(), boring_batches(4), ckpt_path=ckpt_path)
        return trainer.global_step

    assert fit(1, Timer({"seconds": 60})) == 4
    clock.now += 1000  # the computer was off
    timer = Timer({"seconds": 60})
    assert fit(9, timer, "last") == 6
    assert timer.time_elapsed() == 60
    assert fit(9, Timer({"seconds": 60}), "last") == 6  # no time is left for another step
    # A new run with the same timer starts at 0.
    assert fit(1, timer) == 4
    assert timer.time_elapsed() == 40


@pytest.mark.usefixtures("in_tmp_path")
def test_time_of_steps_undone_by_a_rollback_is_counted_once(clock):
    def poison(trainer, module, batch, batch_idx):
        if trainer.global_step == 5 and not watch.rollbacks:
            kernel = module.model.layers[0].kernel
            trainer.engine.set_variable(kernel, np.full(kernel.shape, np.nan, "float32"))

    watch, timer = TerminateOnNaN(every_n_steps=3, max_rollbacks=1), Timer()
    callbacks = [Lambdas(on_train_batch_start=poison), watch, clock.ticking(10), timer]
    trainer = quiet_trainer(max_epochs=3, callbacks=callbacks, enable_checkpointing=True)
    trainer.fit(BoringModule(), boring_batches(4))
    assert (trainer.global_step, watch.rollbacks) == (12, 1)
    assert timer.time_elapsed() == 10 * (4 + 3 + 8)  # an epoch, three steps that are undone, two epochs


def test_error_stops_the_clock(clock):
    def fail(trainer, module, outputs, batch, batch_idx):
        raise RuntimeError("broken")

    timer = Timer()
    trainer = quiet_trainer(callbacks=[clock.ticking(10), timer, Lambdas(on_train_batch_end=fail)])
    with pytest.raises(RuntimeError, match="broken"):
        trainer.fit(BoringModule(), boring_batches(4))
    clock.now += 100
    assert timer.time_elapsed() == 10


def test_max_time_conflicts_with_a_timer():
    with pytest.raises(TrainerError, match="max_time='00:00:00:01', but callbacks contains a Timer"):
        quiet_trainer(max_time="00:00:00:01", callbacks=Timer())


def test_real_time():
    trainer = quiet_trainer(max_epochs=10**6, max_time={"milliseconds": 300})
    trainer.fit(BoringModule(), boring_batches(4))
    (timer,) = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]
    assert trainer.global_step > 0
    assert 0.3 <= timer.time_elapsed() < 60
