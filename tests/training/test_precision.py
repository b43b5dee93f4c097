"""Precision: the dtypes of computation and of stored weights, and loss scaling for float16's small range."""

import keras
import numpy as np
import pytest
from boring import BoringModule, boring_batches, quiet_trainer, weights_of
from keras import ops

from kgenre import TrainerError
from kgenre.engines import loss_scale

pytestmark = pytest.mark.usefixtures("in_tmp_path")
KERNEL = "model.layers.0.kernel"


class Late(BoringModule):
    """Creates its layers in `configure_model`, when the precision is set."""

    def __init__(self, learning_rate=2.5, optimizer=keras.optimizers.SGD):
        super().__init__(learning_rate)
        self.model, self.optimizer, self.dtypes = None, optimizer, []

    def configure_model(self):
        if self.model is None:
            kernel = keras.initializers.Constant(np.linspace(-0.5, 0.5, 32).reshape(4, 8))
            head = keras.initializers.Constant(np.linspace(-0.5, 0.5, 16).reshape(8, 2))
            hidden = keras.layers.Dense(8, activation="tanh", kernel_initializer=kernel)
            self.model = keras.Sequential([keras.Input((4,)), hidden, keras.layers.Dense(2, kernel_initializer=head)])

    def training_step(self, batch, batch_idx):
        outputs = self.model(batch["x"], training=True)
        self.dtypes.append(keras.backend.standardize_dtype(outputs.dtype))
        loss = ops.mean((ops.cast(outputs, "float32") - batch["y"]) ** 2) * batch.get("factor", 1.0) * 0.02
        self.log("train/loss", loss)
        return loss

    def configure_gradients(self, gradients):
        self.log("norm", ops.sqrt(sum(ops.sum(ops.cast(g, "float32") ** 2) for g in gradients.values())))
        return gradients

    def configure_optimizers(self):
        return self.optimizer(self.learning_rate)


def fitted(precision, batches=None, module=None, **arguments):
    module, trainer = module or Late(), quiet_trainer(precision=precision, log_every_n_steps=1, **arguments)
    trainer.fit(module, boring_batches(4) if batches is None else batches)
    return module, trainer


def with_factors(*factors):
    """Batches whose loss is multiplied by a factor; with 1e37, the scaled loss overflows float32."""
    batches = boring_batches(len(factors))
    return [batch | {"factor": np.float32(factor)} for batch, factor in zip(batches, factors, strict=True)]


@pytest.fixture(scope="module")
def in_float32():
    """The weights and metrics of five epochs in float32."""
    module, trainer = fitted("32-true", max_epochs=5)
    return weights_of(module)[KERNEL], trainer.callback_metrics


@pytest.mark.parametrize(
    ("precision", "computed", "stored"),
    [
        ("bf16-mixed", "bfloat16", "float32"),
        ("16-mixed", "float16", "float32"),
        ("bf16-true", "bfloat16", "bfloat16"),
    ],
)
def test_dtypes_and_loss_close_to_float32(precision, computed, stored, in_float32):
    module, trainer = fitted(precision, max_epochs=5)
    assert module.dtypes[-1] == computed  # the last is a step's; Keras's pass over shapes does not cast under torch
    assert {variable.dtype for variable in module.model.trainable_variables} == {stored}
    reference, metrics = in_float32
    for name, tolerance in (("train/loss", 0.02), ("norm", 0.05)):
        assert trainer.callback_metrics[name] == pytest.approx(metrics[name], rel=tolerance)
    assert reference.dtype == "float32"
    assert np.abs(reference - np.linspace(-0.5, 0.5, 32).reshape(4, 8)).max() > 0.05
    assert np.abs(weights_of(module)[KERNEL].astype("float32") - reference).max() < 0.02
    assert keras.config.dtype_policy().name == "float32"


# --- float16 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [{}, {"gradient_clip_val": 1.0}])
def test_overflow_halves_the_scale_and_keeps_the_weights(arguments):
    _module, trainer = fitted("16-mixed", with_factors(1), Late(optimizer=keras.optimizers.Adam), **arguments)
    _other, overflowed = fitted("16-mixed", with_factors(1, 1e37), Late(optimizer=keras.optimizers.Adam), **arguments)
    before, after = trainer.engine.state_dict(), overflowed.engine.state_dict()
    assert before.pop("loss_scale.scale") == 2.0**16
    assert after.pop("loss_scale.scale") == 2.0**15
    assert (before.pop("loss_scale.good_steps"), after.pop("loss_scale.good_steps")) == (1, 0)
    for name, array in before.items():  # including Adam's moments and update count
        np.testing.assert_array_equal(after[name], array, err_msg=name)
    assert overflowed.global_step == 2


def test_training_continues_after_overflows():
    _, trainer = fitted("16-mixed", with_factors(1e37, 1e37, 1, 1))
    assert trainer.engine.state_dict()["loss_scale.scale"] == 2.0**14
    assert trainer.engine.state_dict()["optimizers.0.iterations"] == 2


def test_the_scale_grows_after_good_steps(monkeypatch):
    monkeypatch.setattr(loss_scale, "GROWTH_INTERVAL", 2)
    _, trainer = fitted("16-mixed", boring_batches(5))
    assert trainer.engine.state_dict()["loss_scale.scale"] == 2.0**18
    assert trainer.engine.state_dict()["loss_scale.good_steps"] == 1


def test_small_gradients_survive():
    """Below 6e-8 they are 0 in float16, unless the loss is scaled."""
    small = with_factors(1e-7)
    moved = []
    for precision in ("32-true", "16-mixed"):
        module, _trainer = fitted(precision, small, Late(learning_rate=5e7))
        moved.append(weights_of(module)["model.layers.1.kernel"] - np.linspace(-0.5, 0.5, 16).reshape(8, 2))
    assert np.abs(moved[0]).min() > 1e-4
    np.testing.assert_allclose(moved[1], moved[0], rtol=0.02, atol=1e-3)


def test_gradients_of_float16_weights_survive_a_large_scale():
    scaling = loss_scale.LossScale()
    scaling.scale.assign(loss_scale.LARGEST)
    (gradient,) = scaling.unscaled([ops.full((2,), 2.0**15, "float16")])
    assert keras.backend.standardize_dtype(gradient.dtype) == "float16"
    np.testing.assert_array_equal(ops.convert_to_numpy(gradient), 2.0**-15)


def test_one_overflow_in_an_accumulated_group_skips_the_group():
    module, trainer = fitted("16-mixed", with_factors(1, 1e37, 1, 1), accumulate_grad_batches=2)
    last_two, _ = fitted("16-mixed", with_factors(1, 1, 1, 1)[2:], accumulate_grad_batches=2)
    np.testing.assert_allclose(weights_of(module)[KERNEL], weights_of(last_two)[KERNEL], rtol=1e-4)
    assert trainer.engine.state_dict()["loss_scale.scale"] == 2.0**15


@pytest.mark.parametrize("precision", ["16-mixed", "bf16-true"])
def test_resumed_run_equals_uninterrupted_run(precision):
    batches = with_factors(1, 1e37, 1, 1)
    _whole, trainer = fitted(precision, batches if precision == "16-mixed" else boring_batches(4), max_epochs=2)
    begun = quiet_trainer(precision=precision, max_epochs=1)
    data = batches if precision == "16-mixed" else boring_batches(4)
    begun.fit(Late(), data)
    path = begun.save_checkpoint("middle")
    module = Late()
    resumed = quiet_trainer(precision=precision, max_epochs=2)
    resumed.fit(module, data, ckpt_path=path)
    for name, array in trainer.engine.state_dict().items():
        np.testing.assert_array_equal(resumed.engine.state_dict()[name], array, err_msg=name)


# --- precision set too late -------------------------------------------------------------------------------------


def test_lstm_built_by_its_first_batch_in_bfloat16():
    """Its initial weights are orthogonal, for which no backend has an operation in bfloat16."""

    class Recurrent(Late):
        def configure_model(self):
            self.model = keras.Sequential([keras.layers.Reshape((2, 2)), keras.layers.LSTM(3), keras.layers.Dense(2)])

    module, _ = fitted("bf16-true", module=Recurrent())
    assert module.model.layers[1].cell.recurrent_kernel.dtype == "bfloat16"


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "bf16-true"])
def test_layers_built_too_early_are_rejected(precision):
    message = rf"precision='{precision}' was set too late: BoringModule created its .* float32.*use precision='32-true'"
    with pytest.raises(TrainerError, match=message):
        quiet_trainer(precision=precision).fit(BoringModule(), boring_batches(1))


def test_layers_with_another_policy_are_rejected():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        module = BoringModule()
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(TrainerError, match=r"precision='32-true' was set too late.*mixed_float16.*='16-mixed'"):
        quiet_trainer().fit(module, boring_batches(1))
    with pytest.raises(TrainerError, match=r"precision='bf16-mixed' was set too late.*mixed_float16"):
        quiet_trainer(precision="bf16-mixed").fit(module, boring_batches(1))


def test_unknown_precision_is_rejected():
    with pytest.raises(TrainerError, match=r"32-true, bf16-mixed, 16-mixed, bf16-true. Received: '64'$"):
        quiet_trainer(precision="64")
