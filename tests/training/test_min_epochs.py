"""``min_epochs`` and ``min_steps``: a request to stop waits until both are reached."""

import logging
import signal

import pytest
from boring import BoringModule, Lambdas, boring_batches, quiet_trainer

from kgenre import TrainerError
from kgenre.callbacks import EarlyStopping, ModelCheckpoint


def stop_after(steps):
    def stop(trainer, module, outputs, batch, batch_idx):
        if trainer.global_step >= steps:
            trainer.should_stop = True

    return Lambdas(on_train_batch_end=stop)


# Epochs have 4 steps; should_stop is set after the second.
@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        ({}, 2),
        ({"min_epochs": None, "min_steps": None}, 2),
        ({"min_epochs": 1}, 4),
        ({"min_epochs": 3}, 12),
        ({"min_steps": 1}, 2),
        ({"min_steps": 3}, 3),
        ({"min_steps": 8}, 8),
        ({"min_steps": 10}, 10),
        ({"min_epochs": 2, "min_steps": 3}, 8),
        ({"min_epochs": 1, "min_steps": 7}, 7),
        ({"min_epochs": 5}, 20),
        ({"min_steps": 6, "max_steps": 6}, 6),
        ({"min_steps": 1000}, 20),
        ({"min_steps": 3, "accumulate_grad_batches": 2}, 3),
    ],
    ids=str,
)
def test_step_at_which_training_stops(arguments, steps):
    trainer = quiet_trainer(**{"max_epochs": 5, "callbacks": stop_after(2), **arguments})
    trainer.fit(BoringModule(), boring_batches(4))
    assert trainer.global_step == steps


def test_minimums_change_nothing_without_a_stop_request():
    trainer = quiet_trainer(max_epochs=3, min_epochs=1, min_steps=2)
    trainer.fit(BoringModule(), boring_batches(4))
    assert trainer.global_step == 12


def test_delayed_stop_is_logged_once_per_fit(caplog):
    trainer = quiet_trainer(max_epochs=9, min_epochs=3, callbacks=stop_after(1))
    with caplog.at_level(logging.INFO, "kgenre"):
        trainer.fit(BoringModule(), boring_batches(4))
        trainer.fit(BoringModule(), boring_batches(4))
    line = (
        "Asked to stop at epoch 1, step 1, but min_epochs=3 and min_steps=0 are not both reached: training continues "
        "until they are."
    )
    said = [record.message for record in caplog.records if not record.message.startswith("Backend")]
    assert said == [line, line]  # one per fit


def test_max_time_waits_for_min_steps():
    trainer = quiet_trainer(max_epochs=9, max_time="00:00:00:00", min_steps=5)
    trainer.fit(BoringModule(), boring_batches(4))
    assert trainer.global_step == 5


def test_early_stopping_waits_and_logs_once(caplog):
    class Same(BoringModule):
        def validation_step(self, batch, batch_idx):
            self.log("val/loss", 1.0)

    trainer = quiet_trainer(max_epochs=9, min_epochs=5, callbacks=EarlyStopping(patience=1))
    with caplog.at_level(logging.INFO, "kgenre"):
        trainer.fit(Same(), boring_batches(1), boring_batches(1))
    assert trainer.current_epoch == 5
    assert len([record for record in caplog.records if "Stopping early" in record.message]) == 1


def test_delayed_stop_survives_resume(in_tmp_path):
    """The value improves again while the stop is delayed, so nothing but the first request would stop the fit."""
    values = [5.0, 6.0, 4.0, 3.0, 2.0, 1.0, 0.0, 0.0]

    class Logged(BoringModule):
        def on_validation_epoch_end(self):
            self.log("val/value", values[self.current_epoch])

    def fit(hook, ckpt_path=None):
        callbacks = [Lambdas(**hook), EarlyStopping("val/value", patience=1), ModelCheckpoint(monitor=None)]
        trainer = quiet_trainer(
            max_epochs=8, min_epochs=5, num_sanity_val_steps=0, callbacks=callbacks, enable_checkpointing=True
        )
        trainer.fit(Logged(), boring_batches(2), boring_batches(1), ckpt_path=ckpt_path)
        return trainer

    def interrupt(trainer, module, outputs, batch, batch_idx):
        if trainer.global_step == 7:
            signal.raise_signal(signal.SIGINT)

    assert fit({}).current_epoch == 5
    assert fit({"on_train_batch_end": interrupt}).interrupted
    assert fit({}, "last").current_epoch == 5
    assert fit({}, "last").current_epoch > 5  # a fit that is over may be continued


@pytest.mark.parametrize(
    "arguments", [{"min_epochs": -1}, {"min_steps": -2}, {"min_epochs": 4}, {"min_steps": 8, "max_steps": 7}], ids=str
)
def test_invalid_minimums_are_rejected(arguments):
    name, value = next(iter(arguments.items()))
    with pytest.raises(TrainerError, match=rf"{name}.*Received:.*{value}"):
        quiet_trainer(**{"max_epochs": 3, **arguments})


def test_fast_dev_run_ignores_the_minimums():
    trainer = quiet_trainer(max_epochs=9, min_epochs=5, min_steps=100, fast_dev_run=True)
    trainer.fit(BoringModule(), boring_batches(4))
    assert trainer.global_step == 1
