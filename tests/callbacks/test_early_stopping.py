"""When training stops."""

import math

import pytest
from boring import BoringModule, boring_batches, quiet_trainer

from kgenre.callbacks import EarlyStopping
from kgenre.callbacks.monitor import MonitorError


class Scores(BoringModule):
    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def validation_step(self, batch, batch_idx):
        pass

    def on_validation_epoch_end(self):
        self.log("val/score", self.scores[self.current_epoch])


def epochs_until_stop(stopping, scores):
    trainer = quiet_trainer(max_epochs=len(scores), callbacks=stopping)
    trainer.fit(Scores(scores), boring_batches(1), boring_batches(1))
    return trainer.current_epoch


@pytest.mark.parametrize(
    ("arguments", "scores", "epochs"),
    [
        ({"patience": 1}, [3, 2, 1, 1, 0], 4),
        ({"patience": 2}, [3, 4, 2, 3, 3, 0], 5),
        ({"patience": 3}, [3, 4, 4, 2, 1], 5),
        ({"patience": 1, "mode": "max"}, [3, 4, 2, 9], 3),
        ({"patience": 1, "min_delta": 0.5}, [3, 2.7, 1], 2),
        ({"patience": 1, "min_delta": -0.5}, [3, 2.7, 1], 2),
        ({"patience": 9}, [3, math.nan, 1], 2),
        ({"patience": 9}, [3, math.inf, 1], 2),
        ({"patience": 9, "check_finite": False}, [3, math.nan, 1], 3),
        ({"patience": 1, "check_finite": False}, [3, math.nan, 1], 2),
    ],
    ids=str,
)
def test_when_it_stops(arguments, scores, epochs):
    stopping = EarlyStopping("val/score", **arguments)
    assert epochs_until_stop(stopping, scores) == epochs
    assert stopping.stopped_epoch == (epochs - 1 if epochs < len(scores) or stopping.wait_count else None)


def test_without_validation_it_looks_at_the_end_of_an_epoch():
    class Trains(BoringModule):
        def on_train_epoch_end(self):
            self.log("train/score", 1.0)

    trainer = quiet_trainer(max_epochs=9, callbacks=EarlyStopping("train/score", patience=2))
    trainer.fit(Trains(), boring_batches(1))
    assert trainer.current_epoch == 3


def test_the_sanity_check_and_a_validation_afterwards_do_not_count():
    stopping = EarlyStopping("val/score", patience=5)
    trainer = quiet_trainer(max_epochs=2, callbacks=stopping, num_sanity_val_steps=1)
    module = Scores([3.0, 2.0, 9.0])
    trainer.fit(module, boring_batches(1), boring_batches(1))
    assert (stopping.best_score, stopping.wait_count) == (2.0, 0)
    trainer.validate(module, boring_batches(1), verbose=False)
    assert (stopping.best_score, stopping.wait_count) == (2.0, 0)


def test_a_value_that_was_not_logged():
    with pytest.raises(
        MonitorError, match=r"EarlyStopping\(monitor=.val/los.\).*Logged so far: train/loss, val/score\."
    ):
        epochs_until_stop(EarlyStopping("val/los"), [1.0])


def test_its_state_comes_back():
    stopping, other = EarlyStopping(mode="max"), EarlyStopping(mode="max")
    other.load_state_dict(stopping.state_dict())
    assert other.best_score == -math.inf
    stopping.best_score, stopping.wait_count, stopping.stopped_epoch = 0.5, 2, 7
    other.load_state_dict(stopping.state_dict())
    assert vars(other) == vars(stopping)


def test_wrong_mode():
    with pytest.raises(ValueError, match=r"EarlyStopping\(mode=...\) is 'min' or 'max'. Received: 'least'"):
        EarlyStopping(mode="least")
