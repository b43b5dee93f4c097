"""Clipping and accumulation, compared with NumPy on linear models and plain SGD."""

import keras
import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, descend, quiet_trainer, weights_of
from keras import ops

import kgenre
from kgenre import TrainerError
from kgenre.engines.gradient_clipping import clip, global_norm

KERNEL, BIAS = "model.layers.0.kernel", "model.layers.0.bias"


def joined(batches):
    return {key: np.concatenate([batch[key] for batch in batches]) for key in ("x", "y")}


@pytest.mark.parametrize("limit", [0.05, 100.0])
@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_clipping_in_a_fit(limit, algorithm):
    module, batches = BoringModule(learning_rate=1.0), boring_batches(1)
    start = weights_of(module)
    quiet_trainer(gradient_clip_val=limit, gradient_clip_algorithm=algorithm).fit(module, batches)
    kernel, bias = (a - b for a, b in zip((start[KERNEL], 0), descend(batches, 1.0), strict=True))
    if algorithm == "value":
        expected = [np.clip(gradient, -limit, limit) for gradient in (kernel, bias)]
    else:
        norm = np.sqrt((kernel**2).sum() + (bias**2).sum())
        expected = [gradient * min(1.0, limit / norm) for gradient in (kernel, bias)]
    for name, gradient in zip((KERNEL, BIAS), expected, strict=True):
        np.testing.assert_allclose(start[name] - weights_of(module)[name], gradient, rtol=1e-4, atol=1e-6)


def test_norm_is_over_all_gradients_and_zero_stays_zero():
    gradients = [ops.convert_to_tensor([3.0, 0.0]), ops.convert_to_tensor([[4.0]])]
    assert float(global_norm(gradients)) == pytest.approx(5.0)
    clipped = clip(gradients, 1.0, "norm")
    np.testing.assert_allclose(ops.convert_to_numpy(clipped[0]), [0.6, 0.0], rtol=1e-5)
    zeros = clip([ops.zeros((2,))], 1.0, "norm")
    np.testing.assert_array_equal(ops.convert_to_numpy(zeros[0]), [0.0, 0.0])


@pytest.mark.parametrize("group", [2, 4])
def test_accumulation_equals_one_step_on_all_rows(group):
    module, batches = BoringModule(), boring_batches(4)
    trainer = quiet_trainer(accumulate_grad_batches=group)
    trainer.fit(module, batches)
    kernel, bias = descend([joined(batches[i : i + group]) for i in range(0, 4, group)])
    assert trainer.global_step == 4 // group
    np.testing.assert_allclose(weights_of(module)[KERNEL], kernel, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(weights_of(module)[BIAS], bias, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("knows_its_length", [True, False])
def test_last_group_of_an_epoch_may_be_incomplete(knows_its_length):
    """Its gradient is the mean over the batches it has, and none of it carries over to the next epoch."""

    class Unknown:
        def __iter__(self):
            return iter(batches)

    module, batches = BoringModule(), boring_batches(5)
    trainer = quiet_trainer(max_epochs=2, accumulate_grad_batches=2)
    trainer.fit(module, batches if knows_its_length else Unknown())
    groups = [joined(batches[:2]), joined(batches[2:4]), batches[4]]
    assert trainer.global_step == 6
    np.testing.assert_allclose(weights_of(module)[KERNEL], descend(groups * 2)[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("thaws", [False, True], ids=["freezes", "thaws"])
def test_freezing_inside_a_group_keeps_what_was_accumulated(thaws):
    """A gradient is the sum of those of the batches that trained its variable, divided by the number of all batches."""

    def begin(trainer, module):
        module.model.layers[0].bias.trainable = not thaws

    def change(trainer, module, outputs, batch, batch_idx):
        module.model.layers[0].bias.trainable = thaws

    module, batches = BoringModule(), boring_batches(2)
    callbacks = Lambdas(on_fit_start=begin, on_train_batch_end=change)
    quiet_trainer(accumulate_grad_batches=2, callbacks=callbacks).fit(module, batches)
    bias = descend(batches[1:])[1] / 2 if thaws else [0.0, 0.0]
    np.testing.assert_allclose(weights_of(module)[KERNEL], descend([joined(batches)])[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(weights_of(module)[BIAS], bias, rtol=1e-5, atol=1e-6)


def test_clipping_acts_on_the_accumulated_gradient():
    batches = boring_batches(2)
    accumulated, whole = BoringModule(), BoringModule()
    quiet_trainer(accumulate_grad_batches=2, gradient_clip_val=0.1).fit(accumulated, batches)
    quiet_trainer(gradient_clip_val=0.1).fit(whole, [joined(batches)])
    np.testing.assert_allclose(weights_of(accumulated)[KERNEL], weights_of(whole)[KERNEL], rtol=1e-5)


class Float8(BoringModule):
    def __init__(self):
        super().__init__()
        self.model.quantize("float8")


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_scales_of_float8_layers_are_not_clipped(algorithm):
    class Doubles(Float8):
        def configure_gradients(self, gradients):
            assert {name.rpartition(".")[2] for name in gradients} == {"kernel", "bias"}
            return {name: 2 * gradient for name, gradient in gradients.items()}

    unclipped, clipped = Float8(), Doubles()
    batches = boring_batches(2)
    quiet_trainer().fit(unclipped, batches)
    quiet_trainer(gradient_clip_val=1e-4, gradient_clip_algorithm=algorithm).fit(clipped, batches)
    expected, found = (weights_of(module)["model.layers.0.inputs_amax_history"] for module in (unclipped, clipped))
    assert expected.max() > 1
    np.testing.assert_array_equal(found, expected)


def test_accumulation_with_float8_layers_is_rejected():
    with pytest.raises(ValueError, match=r"^accumulate_grad_batches=2, but self\.model\.layers\.0\.\w+ belongs"):
        quiet_trainer(accumulate_grad_batches=2).fit(Float8(), boring_batches(2))


def test_schedule_counts_updates():
    class Scheduled(BoringModule):
        def configure_optimizers(self):
            schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.1, 0.0])
            return keras.optimizers.SGD(schedule)

    module, batches = Scheduled(), boring_batches(6)
    trainer = quiet_trainer(accumulate_grad_batches=3)
    trainer.fit(module, batches)
    # The second update has rate 0.
    np.testing.assert_allclose(weights_of(module)[KERNEL], descend([joined(batches[:3])])[0], rtol=1e-5, atol=1e-6)
    assert trainer.learning_rates() == [0.0]
    assert trainer.engine.state_dict()["optimizers.0.iterations"] == 2


def test_metric_of_gradients():
    class Largest(BoringModule):
        def __init__(self):
            super().__init__()
            self.largest = keras.metrics.Mean()

        def configure_gradients(self, gradients):
            self.largest.update_state(ops.max(gradients[KERNEL]))
            self.log("largest", self.largest)
            return gradients

    trainer, batches = quiet_trainer(), boring_batches(1)
    kernel = weights_of(BoringModule())[KERNEL]
    trainer.fit(Largest(), batches)
    slope = (kernel - descend(batches)[0]) / 0.1
    assert trainer.callback_metrics["largest"] == pytest.approx(slope.max(), rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gradient_clip_val": 0}, "gradient_clip_val must be above 0.*Received: 0"),
        ({"accumulate_grad_batches": 0}, "accumulate_grad_batches must be a whole number, at least 1. Received: 0"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(TrainerError, match=message):
        kgenre.Trainer(**arguments)
