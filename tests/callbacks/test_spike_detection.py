"""SpikeDetection: a loss far above the mean of the previous ones."""

import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, descend, quiet_trainer

from kgenre.callbacks import ModelCheckpoint, SpikeDetection, TerminateOnNaN


def judged(losses, **arguments):
    """Return the losses that are reported."""
    watch = SpikeDetection(**arguments)
    return [loss for loss in losses if watch.problem(loss) is not None]


@pytest.mark.parametrize(
    ("arguments", "losses", "spikes"),
    [
        ({}, [1.0, 1.0, 2.9, 1.0], []),  # the limit is the mean, 1, plus 2 times the mean
        ({}, [1.0, 1.0, 3.1, 1.0], [3.1]),
        ({}, [1.0, 0.0, 0.0], []),  # a drop is no spike
        ({"mode": "max"}, [-1.0, -1.0, -3.1], [-3.1]),
        ({"rtol": None, "atol": 0.5}, [1.0, 1.4, 1.8], [1.8]),
        ({"rtol": 2.0, "atol": 9.0}, [1.0, 5.0], []),  # both limits must be exceeded
        ({"warmup": 3}, [1.0, 9.0, 9.0, 99.0], [99.0]),
        ({"window": 2}, [9.0, 1.0, 1.0, 4.0], [4.0]),  # the 9 has left the window
        ({"window": 3}, [9.0, 1.0, 1.0, 4.0], []),
        ({"window": 10**20}, [9.0, 1.0, 1.0, 4.0], []),
        ({}, [1.0, float("nan"), float("inf"), 1.0], [float("inf")]),
        ({"finite_only": False}, [1.0, float("nan"), float("inf"), 3.1], [3.1]),
    ],
    ids=str,
)
def test_reported_spikes(arguments, losses, spikes):
    found = judged(losses, **arguments)
    assert [loss for loss in found if loss == loss] == spikes
    assert len(found) == len(spikes) + sum(np.isnan(losses)) * arguments.get("finite_only", True)


def spiky(bad):
    data = boring_batches(8)
    data[bad]["y"] = data[bad]["y"] + 1000
    return data


def test_stops_and_logs_the_step(caplog):
    watch = SpikeDetection(every_n_steps=2)
    trainer = quiet_trainer(callbacks=watch)
    trainer.fit(BoringModule(), spiky(4))
    assert (watch.stopped_step, trainer.global_step) == (5, 6)
    assert "Stopping: the training loss jumped to" in caplog.text
    assert "at epoch 1, step 5" in caplog.text


@pytest.mark.usefixtures("in_tmp_path")
def test_rollback_restores_the_mean():
    watch = SpikeDetection(every_n_steps=3, max_rollbacks=1, rtol=None, atol=100.0)
    checkpoint = ModelCheckpoint(monitor=None, every_n_train_steps=2)
    trainer = quiet_trainer(max_epochs=1, callbacks=[watch, checkpoint], enable_checkpointing=True)
    batches = spiky(5)
    trainer.fit(BoringModule(), batches)  # steps 5 and 6, the bad one, come again
    assert (watch.rollbacks, watch.stopped_step) == (1, 6)
    assert trainer.learning_rates() == pytest.approx([0.05])
    assert checkpoint.last_model_path.name == "step=000004"
    before = [descend(batches[:steps]) for steps in range(5)]
    losses = [np.mean((b["x"] @ w + c - b["y"]) ** 2) for b, (w, c) in zip(batches, before, strict=False)]
    assert list(watch._last) == pytest.approx(losses, rel=1e-4)
    assert watch._seen == 5


@pytest.mark.parametrize("arguments", [{"window": 0}, {"warmup": 0}, {"rtol": None}, {"atol": -1}], ids=str)
def test_wrong_arguments(arguments):
    with pytest.raises(ValueError, match="SpikeDetection takes window >= 1, warmup >= 1, and atol or rtol"):
        SpikeDetection(**arguments)


@pytest.mark.usefixtures("in_tmp_path")
def test_rollbacks_of_two_callbacks_add_up():
    """A NaN, then a spike at the same step: each lowers the rate, and the second goes back to what the first wrote."""

    def break_weights(trainer, module, batch, batch_idx):
        if trainer.global_step == 5 and values:
            kernel = module.model.layers[0].kernel
            trainer.engine.set_variable(kernel, np.full(kernel.shape, values.pop(0), "float32"))

    values = [np.nan, 1e3]
    watches = TerminateOnNaN(1, max_rollbacks=1), SpikeDetection(every_n_steps=1, atol=100.0, max_rollbacks=1)
    callbacks = [Lambdas(on_train_batch_start=break_weights), *watches, ModelCheckpoint(None, every_n_train_steps=1)]
    trainer = quiet_trainer(max_epochs=3, callbacks=callbacks, enable_checkpointing=True)
    trainer.fit(BoringModule(), boring_batches(4))
    assert [watch.rollbacks for watch in watches] == [1, 1]
    assert (trainer.global_step, trainer.learning_rates()) == (12, [pytest.approx(0.025)])


@pytest.mark.usefixtures("in_tmp_path")
def test_no_rollback_where_another_callback_stops_the_run(caplog):
    data = boring_batches(8)
    data[5]["y"] = np.full_like(data[5]["y"], np.nan)
    watches = TerminateOnNaN(1), SpikeDetection(every_n_steps=1, max_rollbacks=1)
    callbacks = [*watches, ModelCheckpoint(None, every_n_train_steps=1)]
    trainer = quiet_trainer(callbacks=callbacks, enable_checkpointing=True)
    trainer.fit(BoringModule(), data)
    assert (watches[0].stopped_step, watches[1].rollbacks) == (6, 0)
    assert "Stopping: the training loss is nan" in caplog.text
    assert "Rolling back" not in caplog.text
