"""Averaged weights, compared with NumPy: in validation, after the fit, in checkpoints and after a resume."""

import keras
import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, descend, quiet_trainer, traces, weights_of

from kgenre.callbacks import ModelCheckpoint, WeightAveraging
from kgenre.checkpoints import read_checkpoint

pytestmark = pytest.mark.usefixtures("in_tmp_path")
KERNEL = "model.layers.0.kernel"


def kernels(batches):
    """The kernel after each SGD step."""
    return [descend(batches[: i + 1])[0] for i in range(len(batches))]


def ema(values, decay):
    average = values[0]
    for value in values[1:]:
        average = decay * average + (1 - decay) * value
    return average


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"decay": 0.9}, lambda k: ema(k, 0.9)),
        ({"decay": 0.9, "update_every_n_steps": 2}, lambda k: ema(k[1::2], 0.9)),
        ({"decay": 0.5, "update_starting_at_step": 3}, lambda k: ema(k[2:], 0.5)),
        ({"decay": None}, lambda k: np.mean(k, axis=0)),
        ({"decay": None, "update_starting_at_epoch": 1}, lambda k: np.mean(k[3:], axis=0)),
        ({"update_starting_at_epoch": 5}, lambda k: k[-1]),
        ({"update_starting_at_step": 10**20}, lambda k: k[-1]),
        ({"update_every_n_steps": 10**20}, lambda k: k[-1]),
    ],
    ids=lambda value: None if callable(value) else str(value),
)
def test_fit_ends_with_the_average(arguments, expected):
    module, batches = BoringModule(), boring_batches(3)
    trainer = quiet_trainer(max_epochs=2, callbacks=WeightAveraging(**arguments))
    trainer.fit(module, batches)
    np.testing.assert_allclose(weights_of(module)[KERNEL], expected(kernels(batches * 2)), rtol=1e-4, atol=1e-6)
    assert trainer.engine.traces["train"] == traces(1)


@pytest.mark.parametrize(("decay", "warns"), [(0.999, True), (0.5, False), (None, False)])
def test_warns_if_the_first_weights_dominate_the_average(caplog, decay, warns):
    quiet_trainer(max_epochs=2, callbacks=WeightAveraging(decay)).fit(BoringModule(), boring_batches(3))
    expected = "after 6 updates, 100 % of the average is still the weights after the first one"
    assert (expected in caplog.text) == ("WeightAveraging" in caplog.text) == warns


def test_validation_uses_the_average_and_training_does_not():
    batches, seen = boring_batches(2), []

    def look(trainer, module):
        seen.append(weights_of(module)[KERNEL])

    hooks = {"on_validation_start": look, "on_validation_epoch_start": look, "on_validation_end": look}
    trainer = quiet_trainer(max_epochs=2, callbacks=[WeightAveraging(0.5), Lambdas(**hooks)], num_sanity_val_steps=0)
    module = BoringModule()
    trainer.fit(module, batches, batches)
    trained = kernels(batches * 2)
    expected = [trained[1], ema(trained[:2], 0.5), trained[1], trained[3], ema(trained, 0.5), trained[3]]
    np.testing.assert_allclose(seen, expected, rtol=1e-4, atol=1e-6)
    kernel, bias = weights_of(module)[KERNEL], weights_of(module)["model.layers.0.bias"]
    error = np.mean([np.mean((b["x"] @ kernel + bias - b["y"]) ** 2) for b in batches])
    assert trainer.callback_metrics["val/loss"] == pytest.approx(error, rel=1e-5)


def test_checkpoints_hold_the_average_and_the_training_weights():
    batches = boring_batches(2)

    def fit(epochs, **arguments):
        trainer = quiet_trainer(
            max_epochs=epochs, callbacks=[WeightAveraging(0.7), ModelCheckpoint()], enable_checkpointing=True
        )
        module = BoringModule()
        trainer.fit(module, batches, batches, **arguments)
        return module, trainer

    _, whole = fit(3)
    _, begun = fit(2)
    path = begun.checkpoint_callback.last_model_path
    loaded = BoringModule.load_from_checkpoint(path)
    np.testing.assert_allclose(weights_of(loaded)[KERNEL], ema(kernels(batches * 2), 0.7), rtol=1e-4, atol=1e-6)
    module, resumed = fit(3, ckpt_path=path)
    for name, array in whole.engine.state_dict().items():
        np.testing.assert_array_equal(resumed.engine.state_dict()[name], array, err_msg=name)
    # The best checkpoint was chosen by the score of its averaged weights, and is validated with them.
    best = resumed.validate(module, batches, ckpt_path="best", verbose=False)[0]["val/loss"]
    assert best == pytest.approx(resumed.checkpoint_callback.best_model_score, rel=1e-6)


def test_checkpoint_within_validation_equals_one_after_it():
    hooks = ("on_validation_batch_end", "on_validation_epoch_end", "on_validation_end")
    saves = {hook: lambda trainer, *_, hook=hook: trainer.save_checkpoint(hook) for hook in hooks}
    trainer = quiet_trainer(num_sanity_val_steps=0, callbacks=[Lambdas(**saves), WeightAveraging(0.5)])
    trainer.fit(BoringModule(), boring_batches(2), boring_batches(1))
    *within, after = ({name: a.tolist() for name, a in read_checkpoint(hook).arrays.items()} for hook in hooks)
    assert within == [after, after]


def test_error_in_validation_restores_the_training_weights():
    class Fails(BoringModule):
        def on_validation_batch_end(self, outputs, batch, batch_idx):
            if self.global_step:
                raise LookupError("on purpose")

    module, batches = Fails(), boring_batches(2)
    with pytest.raises(LookupError):
        quiet_trainer(callbacks=WeightAveraging(0.5)).fit(module, batches, batches)
    np.testing.assert_allclose(weights_of(module)[KERNEL], kernels(batches)[-1], rtol=1e-5, atol=1e-6)


def test_batch_norm_statistics_are_averaged_and_metrics_are_not():
    class Norm(BoringModule):
        def __init__(self):
            super().__init__()
            self.metric = keras.metrics.Mean()
            self.model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(), keras.layers.Dense(2)])

    trainer = quiet_trainer(callbacks=WeightAveraging())
    trainer.fit(Norm(), boring_batches(1))
    averaged = [name for name in trainer.engine.built.optimizer_variables if ".average." in name]
    prefix = "weight_averaging.average.model.layers"
    assert averaged == [
        f"{prefix}.{name}" for name in ("0.gamma", "0.beta", "0.moving_mean", "0.moving_variance", "1.kernel", "1.bias")
    ]


@pytest.mark.parametrize("wrong", [{"decay": 1.0}, {"update_every_n_steps": 0}, {"update_starting_at_epoch": -1}])
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError, match=r"Received: "):
        WeightAveraging(**wrong)
