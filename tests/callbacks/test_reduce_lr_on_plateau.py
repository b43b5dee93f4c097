"""ReduceLROnPlateau: the learning rate is lowered when the monitored value stops improving."""

import logging
import math

import keras
import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, descend, quiet_trainer, weights_of

from kgenre.callbacks import EarlyStopping, ReduceLROnPlateau
from kgenre.callbacks.monitor import MonitorError

pytestmark = pytest.mark.one_backend("tensorflow")


class Scores(BoringModule):
    def __init__(self, scores):
        super().__init__(learning_rate=1.0)
        self.scores = scores

    def validation_step(self, batch, batch_idx):
        pass

    def on_validation_epoch_end(self):
        self.log("val/score", self.scores[self.current_epoch])


def rates(callback, scores, **arguments):
    """Return the learning rate after each epoch."""
    seen = []
    note = Lambdas(on_train_epoch_end=lambda trainer, module: seen.extend(trainer.learning_rates()))
    trainer = quiet_trainer(max_epochs=len(scores), callbacks=[callback, note], **arguments)
    trainer.fit(Scores(scores), boring_batches(1), boring_batches(1))
    return [round(rate, 6) for rate in seen]


@pytest.mark.parametrize(
    ("arguments", "scores", "expected"),
    [
        ({"patience": 2}, [3, 2, 1, 0], [1, 1, 1, 1]),
        ({"patience": 1}, [3, 3, 3], [1, 0.5, 0.25]),
        ({"patience": 2}, [3, 4, 3, 3, 3], [1, 1, 0.5, 0.5, 0.25]),
        ({"patience": 2}, [3, 4, 2, 3, 3], [1, 1, 1, 1, 0.5]),
        ({"patience": 1, "mode": "max"}, [3, 4, 2], [1, 1, 0.5]),
        ({"patience": 1, "min_delta": 0.5}, [3, 2.7, 2], [1, 0.5, 0.5]),
        ({"patience": 1, "min_delta": 0.0}, [3, 2.99999, 2], [1, 1, 1]),
        ({"patience": 1}, [3, 2.99999, 2], [1, 0.5, 0.5]),
        ({"patience": 1, "cooldown": 2}, [3, 3, 3, 3, 3], [1, 0.5, 0.5, 0.25, 0.25]),
        ({"patience": 1, "min_lr": 0.4}, [3, 3, 3, 3], [1, 0.5, 0.4, 0.4]),
        ({"patience": 1, "factor": 0.1}, [3, 3], [1, 0.1]),
        ({"patience": 1}, [3, math.nan], [1, 0.5]),
    ],
    ids=str,
)
def test_rates(arguments, scores, expected):
    assert rates(ReduceLROnPlateau("val/score", **{"factor": 0.5, **arguments}), scores) == expected


def test_rates_equal_those_of_keras():
    """Compare with `keras.callbacks.ReduceLROnPlateau` on the same scores, with every argument in use."""
    scores = list(np.random.default_rng(0).normal(size=40).round(2))
    arguments = {"factor": 0.5, "patience": 3, "min_delta": 0.1, "cooldown": 2, "min_lr": 0.01}
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    theirs, expected = keras.callbacks.ReduceLROnPlateau("score", mode="min", **arguments), []
    theirs.set_model(model)
    theirs.on_train_begin()
    for epoch, score in enumerate(scores):
        theirs.on_epoch_end(epoch, {"score": score})
        expected.append(round(float(model.optimizer.learning_rate), 6))
    assert len(set(expected)) > 3
    assert rates(ReduceLROnPlateau("val/score", **arguments), scores) == expected


def test_next_step_uses_the_new_rate():
    data = boring_batches(1)
    module = Scores([1.0, 1.0, 1.0])
    module.learning_rate = 0.1
    callback = ReduceLROnPlateau("val/score", factor=0.1, patience=1)
    quiet_trainer(max_epochs=3, callbacks=callback).fit(module, data, boring_batches(1))
    before, _ = descend(data * 2)
    whole_step = descend(data * 3)[0] - before  # at the old rate
    (kernel,) = [value for name, value in weights_of(module).items() if name.endswith("kernel")]
    step = kernel - before
    np.testing.assert_allclose(step, 0.1 * whole_step, atol=1e-6)
    assert np.abs(whole_step).max() > 1e-3


def test_logs_the_reduction(caplog):
    with caplog.at_level(logging.INFO, "kgenre"):
        rates(ReduceLROnPlateau("val/score", patience=1, min_lr=0.1), [3, 4, 4])
    assert [record.message for record in caplog.records[1:]] == [
        "val/score has not improved on 3 for 1 validation: learning rate 1 -> 0.1 after epoch 2."
    ]


def test_without_validation_checks_at_the_end_of_an_epoch():
    class Trains(BoringModule):
        def on_train_epoch_end(self):
            self.log("train/score", 1.0)

    trainer = quiet_trainer(max_epochs=3, callbacks=ReduceLROnPlateau("train/score", factor=0.5, patience=1))
    trainer.fit(Trains(0.4), boring_batches(1))
    assert trainer.learning_rates() == pytest.approx([0.1])


@pytest.mark.usefixtures("in_tmp_path")
def test_resumed_run_continues_counting():
    scores = [3, 4, 4, 4, 4, 4, 4]

    def fit(max_epochs, ckpt_path=None):
        seen = []
        plateau = ReduceLROnPlateau("val/score", factor=0.5, patience=2, cooldown=1)
        note = Lambdas(on_train_epoch_end=lambda trainer, module: seen.extend(trainer.learning_rates()))
        trainer = quiet_trainer(max_epochs=max_epochs, callbacks=[plateau, note], enable_checkpointing=True)
        trainer.fit(Scores(scores), boring_batches(1), boring_batches(1), ckpt_path=ckpt_path)
        return seen

    straight = fit(len(scores))
    assert straight == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125]
    for stop in range(1, len(scores)):
        assert fit(stop) + fit(len(scores), "last") == straight


def test_second_fit_starts_from_scratch():
    callback = ReduceLROnPlateau("val/score", factor=0.5, patience=1)
    assert rates(callback, [1, 2]) == [1, 0.5]
    assert rates(callback, [9, 8]) == [1, 1]


def test_state_dict_round_trip():
    callback, other = ReduceLROnPlateau(mode="max"), ReduceLROnPlateau(mode="max")
    other.load_state_dict(callback.state_dict())
    assert other.best_score == -math.inf
    callback.best_score, callback.wait_count, callback.cooldown_count = 0.5, 2, 7
    other.load_state_dict(callback.state_dict())
    assert vars(other) == vars(callback)
    assert ReduceLROnPlateau().state_dict()["best_score"] is None, "JSON has no infinity"


def test_optimizer_with_a_schedule_is_rejected():
    class Scheduled(BoringModule):
        def configure_optimizers(self):
            return keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5))

    with pytest.raises(TypeError, match=r"ReduceLROnPlateau cannot set the learning rate .* schedule ExponentialDecay"):
        quiet_trainer(callbacks=ReduceLROnPlateau()).fit(Scheduled(), boring_batches(1))


@pytest.mark.parametrize("kind", [ReduceLROnPlateau, EarlyStopping])
@pytest.mark.parametrize(("monitor", "validation"), [("val/los", boring_batches(1)), ("val/loss", None)])
def test_impossible_monitor_fails_before_the_first_step(kind, monitor, validation):
    trainer = quiet_trainer(callbacks=kind(monitor))
    with pytest.raises(MonitorError, match=rf"{kind.__name__}\(monitor='{monitor}'\): no step logs this value\. "):
        trainer.fit(BoringModule(), boring_batches(1), validation)
    assert trainer.global_step == 0


@pytest.mark.parametrize("kind", [ReduceLROnPlateau, EarlyStopping])
def test_a_monitor_without_a_name_is_refused_at_once(kind):
    with pytest.raises(MonitorError, match=rf"{kind.__name__}\(monitor=...\) must be the name .*'val/loss'"):
        kind(monitor="")


def test_missing_monitor_error():
    with pytest.raises(MonitorError, match=r"ReduceLROnPlateau\(monitor='val/los'\).*Logged so far: .*val/score"):
        rates(ReduceLROnPlateau("val/los"), [1.0])


@pytest.mark.parametrize(
    "arguments",
    [{"factor": 1.0}, {"factor": 0.0}, {"patience": 0}, {"cooldown": -1}, {"min_lr": -0.1}, {"mode": "least"}],
    ids=str,
)
def test_wrong_arguments(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=rf"{name}.*{value}"):
        ReduceLROnPlateau(**arguments)
