"""EarlyStopping: when it stops, what it logs and which weights it restores."""

import logging
import math

import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, quiet_trainer, weights_of

from kgenre.callbacks import (
    DeviceStatsMonitor,
    EarlyStopping,
    InputMonitor,
    LearningRateMonitor,
    ModelCheckpoint,
    ThroughputMonitor,
)
from kgenre.callbacks.monitor import MonitorError
from kgenre.checkpoints import read_checkpoint

pytestmark = pytest.mark.one_backend("jax")


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
        ({"patience": 1, "min_delta": -0.5}, [3, 3.4, 3.8, 4.3, 0], 4),
        ({"patience": 1, "min_delta": -0.5, "mode": "max"}, [3, 2.6, 2.1, 9], 3),
        ({"patience": 9}, [3, math.nan, 1], 2),
        ({"patience": 9}, [3, math.inf, 1], 2),
        ({"patience": 9, "check_finite": False}, [3, math.nan, 1], 3),
        ({"patience": 1, "check_finite": False}, [3, math.nan, 1], 2),
        ({"patience": 9, "stopping_threshold": 1.5}, [3, 2, 1.5, 1, 0], 4),
        ({"patience": 9, "stopping_threshold": 4, "mode": "max"}, [3, 5, 9], 2),
        ({"patience": 9, "divergence_threshold": 4}, [3, 4, 5, 0], 3),
        ({"patience": 9, "divergence_threshold": 2, "mode": "max"}, [3, 2, 1, 9], 3),
        ({"patience": 9, "stopping_threshold": 0.0, "divergence_threshold": 4.0}, [3, 2, 1], 3),
        ({"patience": 1, "stopping_threshold": 0.0}, [3, 2, 2, 1], 3),
    ],
    ids=str,
)
def test_when_it_stops(arguments, scores, epochs):
    stopping = EarlyStopping("val/score", **arguments)
    assert epochs_until_stop(stopping, scores) == epochs
    assert stopping.stopped_epoch == (epochs - 1 if epochs < len(scores) or stopping.wait_count else None)


@pytest.mark.parametrize(
    ("arguments", "scores", "line"),
    [
        ({"patience": 1}, [2, 3], "2: val/score has not improved on 2.0000 for 1 validation."),
        ({}, [math.nan], "1: val/score is nan."),
        ({"stopping_threshold": 1.5}, [2, 1], "2: val/score 1.0000 is better than stopping_threshold=1.5."),
        ({"divergence_threshold": 4}, [2, 5], "2: val/score 5.0000 is worse than divergence_threshold=4."),
    ],
    ids=str,
)
def test_logs_the_reason(arguments, scores, line, caplog):
    with caplog.at_level(logging.INFO, "kgenre"):
        epochs_until_stop(EarlyStopping("val/score", **arguments), scores)
    assert [record.message for record in caplog.records[1:]] == [f"Stopping early after epoch {line}"]


def test_value_beyond_the_threshold_is_the_best():
    stopping = EarlyStopping("val/score", stopping_threshold=1.5)
    epochs_until_stop(stopping, [3, 1, 2])
    assert stopping.best_score == 1


def test_without_validation_checks_at_the_end_of_an_epoch():
    class Trains(BoringModule):
        def on_train_epoch_end(self):
            self.log("train/score", 1.0)

    trainer = quiet_trainer(max_epochs=9, callbacks=EarlyStopping("train/score", patience=2))
    trainer.fit(Trains(), boring_batches(1))
    assert trainer.current_epoch == 3


def test_sanity_check_and_later_validation_do_not_count():
    class BestBefore(Scores):
        def on_validation_epoch_end(self):
            self.log("val/score", 1.0 if self.trainer.sanity_checking else self.scores[self.current_epoch])

    stopping = EarlyStopping("val/score", patience=5)
    trainer = quiet_trainer(max_epochs=2, callbacks=stopping, num_sanity_val_steps=1)
    module = BestBefore([3.0, 2.0, 9.0])
    trainer.fit(module, boring_batches(1), boring_batches(1))
    assert (stopping.best_score, stopping.wait_count) == (2.0, 0)
    trainer.validate(module, boring_batches(1), verbose=False)
    assert (stopping.best_score, stopping.wait_count) == (2.0, 0)


def test_missing_monitor_error():
    with pytest.raises(
        MonitorError, match=r"EarlyStopping\(monitor=.val/los.\).*Logged so far: train/loss, val/score\."
    ):
        epochs_until_stop(EarlyStopping("val/los"), [1.0])


@pytest.mark.parametrize(
    ("monitor", "others"),
    [
        ("train_los", []),
        ("train_los", [LearningRateMonitor, InputMonitor, DeviceStatsMonitor, ThroughputMonitor]),
        ("throughput/samples_per_second", []),
    ],
)
def test_impossible_monitor_fails_before_the_first_step(monitor, others):
    trainer = quiet_trainer(callbacks=[EarlyStopping(monitor), *(kind() for kind in others)])
    with pytest.raises(MonitorError, match=rf"EarlyStopping\(monitor='{monitor}'\): no step logs this value"):
        trainer.fit(BoringModule(), boring_batches(1), boring_batches(1))
    assert trainer.global_step == 0


@pytest.mark.parametrize(
    ("monitor", "kind"),
    [
        ("lr-SGD", LearningRateMonitor),
        ("input_wait", InputMonitor),
        ("throughput/samples_per_second", ThroughputMonitor),
        ("device/cpu/memory_peak", DeviceStatsMonitor),
    ],
)
def test_values_of_other_callbacks_can_be_monitored(monitor, kind):
    stopping = EarlyStopping(monitor, check_on_train_epoch_end=True)
    trainer = quiet_trainer(max_epochs=2, log_every_n_steps=1, callbacks=[stopping, kind()])
    trainer.fit(BoringModule(), boring_batches(1), boring_batches(1))
    assert trainer.current_epoch == 2
    assert math.isfinite(stopping.best_score)


def test_state_dict_round_trip():
    stopping, other = EarlyStopping(mode="max"), EarlyStopping(mode="max")
    other.load_state_dict(stopping.state_dict())
    assert other.best_score == -math.inf
    stopping.best_score, stopping.wait_count, stopping.stopped_epoch = 0.5, 2, 7
    other.load_state_dict(stopping.state_dict())
    assert vars(other) == vars(stopping)
    assert EarlyStopping().state_dict()["best_score"] is None, "JSON has no infinity"


def test_negative_patience():
    with pytest.raises(ValueError, match=r"EarlyStopping\(patience=...\) must be at least 0. Received: -1"):
        EarlyStopping(patience=-1)


def test_wrong_mode():
    with pytest.raises(ValueError, match=r"EarlyStopping\(mode=...\) takes 'min' or 'max'. Received: 'least'"):
        EarlyStopping(mode="least")


# --- restore_best_weights -----------------------------------------------------------------------------------------


def fit_and_note_weights(stopping, scores, **arguments):
    """Fit, and return the final weights, those after each epoch, and the trainer."""
    epochs = []
    note = Lambdas(on_train_epoch_end=lambda trainer, module: epochs.append(weights_of(module)))
    trainer = quiet_trainer(max_epochs=len(scores), callbacks=[stopping, note], **arguments)
    module = Scores(scores)
    trainer.fit(module, boring_batches(3), boring_batches(1))
    return weights_of(module), epochs, trainer


def same(first, second):
    return all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("arguments", "scores", "best"),
    [
        ({"patience": 2}, [3, 1, 2, 2, 0], 1),
        ({"patience": 9}, [3, 2, 1, 4], 2),  # not stopped early
        ({"patience": 2, "mode": "max"}, [3, 4, 1, 1], 1),
        ({"patience": 9}, [3, 2, math.nan, 1], 1),
        ({"patience": 9}, [3, 2, 1], 2),  # the last is the best
        ({"patience": 9}, [math.nan], 0),  # there is no best: the weights stay
        ({"patience": 9, "stopping_threshold": 1.5}, [3, 1], 1),
    ],
    ids=str,
)
def test_best_weights_are_restored(arguments, scores, best):
    stopping = EarlyStopping("val/score", restore_best_weights=True, **arguments)
    final, epochs, trainer = fit_and_note_weights(stopping, scores)
    assert [i for i, weights in enumerate(epochs) if same(weights, final)] == [best]
    # The engine has them too: a later test uses the best weights.
    held = trainer.engine.state_dict()
    assert all(np.array_equal(held[name], value) for name, value in epochs[best].items())


def test_later_test_uses_the_best_weights():
    results = {}
    for restore in (True, False):
        stopping = EarlyStopping("val/score", restore_best_weights=restore, patience=9)
        _, _, trainer = fit_and_note_weights(stopping, [1, 2, 3])
        (results[restore],) = trainer.test(dataloaders=boring_batches(3), verbose=False)
    stopping = EarlyStopping("val/score", patience=9)
    _, _, trainer = fit_and_note_weights(stopping, [1])
    assert trainer.test(dataloaders=boring_batches(3), verbose=False)[0] == results[True] != results[False]


def test_newest_weights_stay_without_restoring():
    final, epochs, _ = fit_and_note_weights(EarlyStopping("val/score", patience=2), [3, 1, 2, 2])
    assert [i for i, weights in enumerate(epochs) if same(weights, final)] == [3]


@pytest.mark.usefixtures("in_tmp_path")
@pytest.mark.parametrize(
    ("arguments", "score"), [({}, 1.0), ({"restore_best_weights": True, "check_finite": False}, math.nan)]
)
def test_nothing_is_said_where_there_is_nothing_to_restore(arguments, score, caplog):
    epochs_until_stop(EarlyStopping("val/score", **arguments), [score])
    assert "restore_best_weights" not in caplog.text


def test_last_checkpoint_has_the_training_weights():
    """Checkpoints hold the weights in training, so that the run can be resumed from the last."""
    stopping = EarlyStopping("val/score", restore_best_weights=True, patience=9)
    final, epochs, trainer = fit_and_note_weights(stopping, [1, 2, 3], enable_checkpointing=True)
    saved = read_checkpoint(trainer.checkpoint_callback.last_model_path).weights
    assert same(epochs[2], saved)
    assert same(epochs[0], final)


@pytest.mark.usefixtures("in_tmp_path")
def test_best_before_a_resume_is_reported(caplog):
    def fit(scores, **arguments):
        trainer = quiet_trainer(
            max_epochs=len(scores),
            callbacks=EarlyStopping("val/score", restore_best_weights=True, patience=9),
            enable_checkpointing=True,
        )
        module = Scores(scores)
        with caplog.at_level(logging.INFO, "kgenre"):
            trainer.fit(module, boring_batches(1), boring_batches(1), **arguments)
        return [record.message for record in caplog.records][-1]

    assert fit([3, 1]) == "Restored the weights of epoch 2: val/score 1.0000."
    assert "the best val/score (1.0000) was reached before this run was resumed" in fit([3, 1, 2], ckpt_path="last")
    assert fit([3, 1, 2, 0.5], ckpt_path="last") == "Restored the weights of epoch 4: val/score 0.5000."


@pytest.mark.usefixtures("in_tmp_path")
def test_restored_weights_of_discarded_steps_are_named_with_their_own_score(caplog):
    class Next(Scores):
        def on_validation_epoch_end(self):
            self.log("val/score", self.scores.pop(0))

    def go_back(trainer, module):
        if trainer.current_epoch == 1 and len(module.scores) == 1:
            earlier = read_checkpoint(trainer.run_dir / "checkpoints" / "step=000001")
            trainer.pending_rollback = earlier

    stopping = EarlyStopping("val/score", restore_best_weights=True, patience=9)
    callbacks = [stopping, Lambdas(on_train_epoch_end=go_back), ModelCheckpoint(None, save_top_k=-1)]
    trainer = quiet_trainer(max_epochs=2, num_sanity_val_steps=0, callbacks=callbacks, enable_checkpointing=True)
    with caplog.at_level(logging.INFO, "kgenre"):
        trainer.fit(Next([3, 1, 4]), boring_batches(1), boring_batches(1))
    assert stopping.best_score == 3
    assert caplog.messages[-1] == "Restored the weights of epoch 2: val/score 1.0000."


@pytest.mark.usefixtures("in_tmp_path")
@pytest.mark.parametrize(
    ("arguments", "scores"),
    [({"patience": 2}, [3, 4, 5]), ({"stopping_threshold": 2.0}, [3, 1]), ({"divergence_threshold": 6.0}, [3, 9])],
    ids=str,
)
def test_run_that_it_ended_is_not_continued_on_resume(arguments, scores, caplog):
    def fit(ckpt_path=None, **arguments):
        trainer = quiet_trainer(
            max_epochs=5, callbacks=EarlyStopping("val/score", **arguments), enable_checkpointing=True
        )
        trainer.fit(Scores([*scores, 0, 0, 0]), boring_batches(2), boring_batches(1), ckpt_path=ckpt_path)
        return trainer.current_epoch

    assert fit(**arguments) == len(scores)
    assert fit("last", **arguments) == len(scores)
    assert "Nothing is left to train: val/score " in caplog.text
    assert fit("last", patience=9) == 5


def test_check_on_train_epoch_end():
    class Late(BoringModule):
        def on_train_epoch_end(self):
            self.log("late", [3.0, 2.0, 2.0, 1.0][self.current_epoch])

    stopping = EarlyStopping("late", patience=1, check_on_train_epoch_end=True)
    trainer = quiet_trainer(max_epochs=4, callbacks=stopping)
    trainer.fit(Late(), boring_batches(1), boring_batches(1))
    assert trainer.current_epoch == 3
    with pytest.raises(MonitorError):  # not logged yet after the first validation
        quiet_trainer(callbacks=EarlyStopping("late")).fit(Late(), boring_batches(1), boring_batches(1))


def test_strict_false_only_warns(caplog):
    trainer = quiet_trainer(max_epochs=2, callbacks=EarlyStopping("nothing", strict=False))
    trainer.fit(BoringModule(), boring_batches(1))
    assert trainer.current_epoch == 2
    assert caplog.text.count("EarlyStopping(strict=False): nothing was not logged.") == 2


def test_verbose_logs_improvements(caplog):
    with caplog.at_level(logging.INFO, "kgenre"):
        epochs_until_stop(EarlyStopping("val/score", verbose=True), [3, 4, 2])
    assert [record.message for record in caplog.records[1:]] == [
        "val/score improved from inf to 3.",
        "val/score improved from 3 to 2.",
    ]


def test_second_fit_starts_from_scratch():
    stopping = EarlyStopping("val/score", patience=1)
    for scores, epochs in (([1, 2], 2), ([9, 8, 7], 3)):
        assert epochs_until_stop(stopping, scores) == epochs
    assert (stopping.best_score, stopping.wait_count, stopping.stopped_epoch) == (7, 0, None)
