"""Setting and logging the learning rate."""

import math
from contextlib import nullcontext

import keras
import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, descend, quiet_trainer, weights_of

from kgenre.callbacks import (
    ConstantThenDecay,
    LearningRateMonitor,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
)
from kgenre.loggers import InMemoryLogger

pytestmark = pytest.mark.usefixtures("in_tmp_path")


def history(*callbacks, module=None, batches=4, **arguments):
    """Fit, and return the pairs (step, rate) that the monitor logs."""
    logger = InMemoryLogger()
    trainer = quiet_trainer(**{"callbacks": list(callbacks), "logger": logger, "log_every_n_steps": 1, **arguments})
    trainer.fit(module or BoringModule(learning_rate=1.0), boring_batches(batches))
    return [(step, pytest.approx(rate)) for step, rate in logger.history("lr-SGD")]


def test_schedule_by_epochs():
    schedule = LearningRateScheduler(lambda epoch, rate: rate / 2 if epoch else rate)
    assert history(schedule, LearningRateMonitor(), max_epochs=3) == [(4, 1.0), (8, 0.5), (12, 0.25)]


def test_a_second_fit_logs_its_own_rates():
    """The first one's last validation was after as many updates."""
    monitor, batches = LearningRateMonitor(), boring_batches(4)
    quiet_trainer(callbacks=monitor).fit(BoringModule(learning_rate=1.0), batches, batches)
    assert history(monitor, module=BoringModule(learning_rate=0.25)) == [(4, 0.25)]


@pytest.mark.parametrize("fails", [False, True])
def test_rates_of_an_epoch_at_whose_end_a_plateau_reduces_them(fails):
    def fit(**arguments):
        def fail(trainer, module):
            if fails and trainer.global_step == 6 and not trainer.resumed:
                raise RuntimeError("between validation and logging")

        plateau = ReduceLROnPlateau(factor=0.5, patience=1, min_delta=10.0)
        checkpoint = ModelCheckpoint(save_on_exception=True)
        callbacks = [plateau, Lambdas(on_train_epoch_end=fail), LearningRateMonitor(), checkpoint]
        options = {"callbacks": callbacks, "logger": logger, "enable_checkpointing": True, "num_sanity_val_steps": 0}
        trainer = quiet_trainer(max_epochs=4, val_check_interval=1, **options)
        trainer.fit(BoringModule(learning_rate=1.0), boring_batches(2), boring_batches(1), **arguments)

    logger = InMemoryLogger()
    with pytest.raises(RuntimeError, match="between") if fails else nullcontext():
        fit()
    if fails:
        fit(ckpt_path="last")
    # The rate is halved from the second of the two validations of the first epoch on, and logged at each epoch's end.
    assert logger.history("lr-SGD") == [(2, 1.0), (4, 0.25), (6, 0.0625), (8, 0.015625)]


def test_a_second_fit_sets_the_rate_of_its_first_epoch():
    schedule = LearningRateScheduler(lambda epoch, rate: rate / 2)
    for _ in range(2):
        assert history(schedule, LearningRateMonitor(), max_epochs=1) == [(4, 0.5)]


@pytest.mark.filterwarnings("ignore:training_step returned None")
def test_skipped_batches_do_not_advance_a_keras_schedule():
    class LeavesOut(BoringModule):
        def training_step(self, batch, batch_idx):
            return None if batch["x"].shape[0] == 4 else super().training_step(batch, batch_idx)

        def configure_optimizers(self):
            return keras.optimizers.SGD(keras.optimizers.schedules.PiecewiseConstantDecay([2], [0.5, 0.25]))

    trainer = quiet_trainer()
    trainer.fit(LeavesOut(), boring_batches(2) + boring_batches(2, rows=4))
    assert (trainer.global_step, trainer.learning_rates()) == (4, [0.5])
    trainer.fit(LeavesOut(), boring_batches(3))
    assert trainer.learning_rates() == [0.25]


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 4), (2, 2)])
def test_schedule_by_steps(accumulate, steps):
    schedule = LearningRateScheduler(lambda step, rate: 0.1 * (step + 1), interval="step")
    found = history(schedule, LearningRateMonitor("step"), accumulate_grad_batches=accumulate)
    assert found == [(step, 0.1 * step) for step in range(1, steps + 1)]


def test_step_uses_the_scheduled_rate():
    module, batches = BoringModule(learning_rate=1.0), boring_batches(2)
    schedule = LearningRateScheduler(lambda step, rate: [0.05, 0.0][step], interval="step")
    quiet_trainer(callbacks=schedule).fit(module, batches)
    expected = descend(batches[:1], 0.05)[0]
    np.testing.assert_allclose(weights_of(module)["model.layers.0.kernel"], expected, rtol=1e-5)


def test_epoch_resumed_in_the_middle_decays_once():
    def halve(epoch, rate):
        return rate / 2

    first = quiet_trainer(max_epochs=2, max_steps=6, callbacks=LearningRateScheduler(halve))
    first.fit(BoringModule(learning_rate=1.0), boring_batches(4))
    path = first.save_checkpoint("middle")
    second = quiet_trainer(max_epochs=2, callbacks=LearningRateScheduler(halve))
    second.fit(BoringModule(learning_rate=1.0), boring_batches(4), ckpt_path=path)
    assert second.learning_rates() == [0.25]


@pytest.mark.parametrize(("interval", "rate"), [("epoch", 0.25), ("step", 2.0**-8)])
def test_step_that_failed_and_is_repeated_decays_once(interval, rate):
    """The rate of its step, or of its epoch, had been set already when the run was saved."""

    class Fails(BoringModule):
        def on_train_batch_start(self, batch, batch_idx):
            if self.trainer.global_step == 4 and not self.trainer.resumed:
                raise RuntimeError("failed")

    def fit(ckpt_path=None):
        schedule = LearningRateScheduler(lambda index, rate: rate / 2, interval=interval)
        checkpoint = ModelCheckpoint(every_n_train_steps=100, save_on_exception=True)
        trainer = quiet_trainer(max_epochs=2, callbacks=[schedule, checkpoint], enable_checkpointing=True)
        trainer.fit(Fails(learning_rate=1.0), boring_batches(4), ckpt_path=ckpt_path)
        return trainer

    with pytest.raises(RuntimeError, match="failed"):
        fit()
    assert fit("last").learning_rates() == [rate]


def test_constant_then_decay():
    """The rate is constant for ten epochs, then multiplied by exp(-0.01) each epoch."""
    schedule, rates, rate = ConstantThenDecay(), [], 1e-4
    for epoch in range(15):
        rate = schedule(epoch, rate)
        rates.append(rate)
    expected = [1e-4 if epoch < 10 else 1e-4 * math.exp(-0.01 * (epoch - 9)) for epoch in range(15)]
    assert rates == pytest.approx(expected, rel=1e-12)
    assert ConstantThenDecay(constant_epochs=0, decay=1.0)(0, 1.0) == pytest.approx(math.exp(-1))


def test_schedule_that_returns_nothing_is_named():
    def forgetful(epoch, rate):
        rate * 0.5

    trainer = quiet_trainer(callbacks=LearningRateScheduler(forgetful))
    with pytest.raises(TypeError, match=r"The scheduler <function .*forgetful.*> returned None: it must return"):
        trainer.fit(BoringModule(), boring_batches(1))


@pytest.mark.parametrize("optimizer", [1, -1])
def test_optimizer_that_does_not_exist_is_rejected(optimizer):
    schedule = LearningRateScheduler(lambda epoch, rate: rate, optimizer=optimizer)
    with pytest.raises(ValueError, match=rf"optimizer=...\) must be 0 for .* 1 optimizer, .*Received: {optimizer}"):
        history(schedule)


def test_optimizer_with_its_own_schedule_is_rejected():
    class Scheduled(BoringModule):
        def configure_optimizers(self):
            return keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(1.0, 1, 0.5))

    with pytest.raises(TypeError, match="that has the schedule ExponentialDecay"):
        history(LearningRateScheduler(lambda epoch, rate: rate), module=Scheduled())
    # The monitor logs it all the same: the fourth update used the rate of iteration 3.
    assert history(LearningRateMonitor(), module=Scheduled()) == [(4, 0.5**3)]


@pytest.mark.parametrize(
    ("interval", "steps"), [("epoch", [5, 10]), ("step", [2, 4, 6, 8, 10]), (None, [2, 4, 5, 6, 8, 10])]
)
def test_when_the_rate_is_logged(interval, steps):
    found = history(LearningRateMonitor(interval), batches=5, max_epochs=2, log_every_n_steps=2)
    assert sorted({step for step, _ in found}) == steps


def test_accumulation_logs_each_update_once():
    found = history(LearningRateMonitor("step"), batches=4, accumulate_grad_batches=2)
    assert [step for step, _ in found] == [1, 2]


@pytest.mark.parametrize("make", [LearningRateMonitor, lambda interval: LearningRateScheduler(None, interval=interval)])
def test_wrong_interval(make):
    with pytest.raises(ValueError, match="Received: 'batch'"):
        make("batch")
