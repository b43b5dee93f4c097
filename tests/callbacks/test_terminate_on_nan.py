"""A loss that is no longer a number ends training."""

import logging

import numpy as np
import pytest
from boring import BoringModule, boring_batches, quiet_trainer

from kgenre.callbacks import TerminateOnNaN


def batches(count, bad, value=np.nan):
    """Batches of which number ``bad`` makes the loss not finite."""
    data = boring_batches(count)
    if bad is not None:
        data[bad]["y"] = np.full_like(data[bad]["y"], value)
    return data


# With NaN in the weights every later loss is NaN; a look sees the loss of the batch before.
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("every", "bad", "stopped", "steps"),
    [
        (1, 0, 1, 2),
        (1, 3, 4, 5),
        (4, 0, 3, 4),
        (4, 2, 3, 4),
        (4, 3, 7, 8),
        (100, 2, 10, 10),
        (100, 9, 10, 10),
        (1, None, None, 20),
    ],
)
def test_when_it_stops(every, bad, stopped, steps, value):
    callback = TerminateOnNaN(every_n_steps=every)
    trainer = quiet_trainer(max_epochs=2, callbacks=callback)
    trainer.fit(BoringModule(), batches(10, bad, value))
    assert (callback.stopped_step, trainer.global_step) == (stopped, steps)
    assert trainer.should_stop == (stopped is not None)


def test_it_names_the_epoch_and_the_step_once(caplog):
    class Breaks(BoringModule):
        def on_train_epoch_start(self):
            if self.current_epoch == 2:
                self.model.layers[0].bias.assign([np.nan, np.nan])

    with caplog.at_level(logging.INFO, "kgenre"):
        trainer = quiet_trainer(max_epochs=5, min_epochs=4, callbacks=TerminateOnNaN(1))
        trainer.fit(Breaks(), boring_batches(4))
    assert trainer.global_step == 16  # min_epochs holds here too
    (message,) = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert message.startswith("Stopping: the training loss is nan at epoch 3, step 9. ")


def test_a_second_fit_starts_anew():
    callback = TerminateOnNaN(1)
    trainer = quiet_trainer(callbacks=callback)
    trainer.fit(BoringModule(), batches(4, 0))
    trainer.fit(BoringModule(), batches(4, None))
    assert (callback.stopped_step, trainer.global_step) == (None, 4)


def test_it_fetches_only_every_n_steps():
    class Counts(BoringModule):
        fetched = 0

        def on_train_start(self):
            engine = self.trainer.engine
            to_host = engine.to_host

            def counted(tree):
                self.fetched += getattr(tree, "shape", None) == ()
                return to_host(tree)

            engine.to_host = counted

    module = Counts()
    quiet_trainer(callbacks=TerminateOnNaN(5)).fit(module, boring_batches(20))
    assert module.fetched == 5  # after 5, 10, 15 and 20 batches, and at the end of the epoch


def test_wrong_interval():
    with pytest.raises(ValueError, match=r"TerminateOnNaN\(every_n_steps=...\) must be at least 1. Received: 0"):
        TerminateOnNaN(0)
