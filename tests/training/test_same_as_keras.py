"""Keras's optimizers, and layers changed after a fit, behave in the trainer as they do in Keras."""

import keras
import numpy as np
import pytest
from boring import BoringModule, boring_batches, quiet_trainer, weights_of
from keras import ops

DECAY = {"weight_decay": 0.1, "global_clipnorm": 0.5}
OPTIMIZERS = {
    "SGD": DECAY | {"momentum": 0.9, "nesterov": True},
    "RMSprop": DECAY | {"centered": True, "momentum": 0.5},
    "Adam": DECAY | {"amsgrad": True},
    "AdamW": {"clipnorm": 0.5},
    "Adamax": DECAY,
    "Nadam": DECAY,
    "Adadelta": {"clipvalue": 0.1},
    "Adagrad": DECAY,
    "Adafactor": DECAY,
    "Ftrl": {"l1_regularization_strength": 0.01, "l2_shrinkage_regularization_strength": 0.01},
    "Lamb": DECAY,
    "Lion": DECAY,
    "Muon": DECAY,
    "ScheduleFreeAdamW": DECAY | {"warmup_steps": 2},
}


def optimizer(name):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.05, 2, 0.5)
    made = getattr(keras.optimizers, name)(schedule, **OPTIMIZERS[name])
    made.exclude_from_weight_decay(var_names=["bias"])
    return made


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_takes_the_steps_that_it_takes_in_keras(name):
    class Constrained(BoringModule):
        def __init__(self):
            super().__init__()
            self.model.layers[0].kernel.constraint = keras.constraints.MaxNorm(0.5)

        def configure_optimizers(self):
            return optimizer(name)

    module, reference, by_hand = Constrained(), Constrained(), optimizer(name)
    kernel, bias = reference.model.trainable_variables
    batches = boring_batches(3)
    trainer = quiet_trainer()
    trainer.fit(module, batches)
    for batch in batches:
        slope = (
            2 * (batch["x"] @ ops.convert_to_numpy(kernel) + ops.convert_to_numpy(bias) - batch["y"]) / batch["y"].size
        )
        gradients = [batch["x"].T @ slope, slope.sum(0)]
        by_hand.apply([ops.convert_to_tensor(g, "float32") for g in gradients], [kernel, bias])

    found, expected = (
        net.model.get_weights() + made.variables
        for net, made in ((module, trainer.optimizers[0]), (reference, by_hand))
    )
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(one), ops.convert_to_numpy(other), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("quantized", [False, True])
def test_lora_enabled_after_a_fit_is_all_that_the_next_fit_trains(quantized):
    module, trainer = BoringModule(), quiet_trainer()
    trainer.fit(module, boring_batches(2), boring_batches(1))
    if quantized:
        module.model.quantize("int8")
    (layer,) = module.model.layers
    layer.enable_lora(1)
    before = weights_of(module)
    trainer.fit(module, boring_batches(2), boring_batches(1))
    after = weights_of(module)
    moved = {name for name in after if not np.array_equal(after[name], before[name])}
    assert moved == {f"model.layers.0.{name}" for name in ("bias", "lora_kernel_a", "lora_kernel_b")}


def test_model_quantized_after_a_fit_is_evaluated_as_such():
    module, trainer, (batch,) = BoringModule(), quiet_trainer(), boring_batches(1)
    trainer.fit(module, [batch], [batch])
    (exact,) = trainer.validate(module, [batch], verbose=False)
    module.model.quantize("int8")
    (rounded,) = trainer.validate(module, [batch], verbose=False)
    module.model.compile(loss="mse")
    expected = module.model.evaluate(batch["x"], batch["y"], verbose=0)
    assert rounded["val/loss"] == pytest.approx(expected, rel=1e-5)
    assert rounded["val/loss"] != pytest.approx(exact["val/loss"], rel=1e-6)
