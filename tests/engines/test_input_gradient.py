"""`kgenre.gradient`: derivatives on every backend, in a trained loss, and with side effects of the function."""

import keras
import numpy as np
import pytest
from boring import BoringModule, boring_batches, quiet_trainer, weights_of
from keras import ops

import kgenre

KERNEL = "model.layers.0.kernel"


class Penalized(BoringModule):
    """Minimises the squared slopes of a linear model, which in each of the 8 rows equal its kernel."""

    def __init__(self):
        super().__init__(units=1)
        self.seen = keras.Variable(0.0, trainable=False)

    def judged(self, x):
        self.seen.assign(self.seen + ops.sum(x))
        return self.model(x)

    def training_step(self, batch, batch_idx):
        return ops.sum(kgenre.gradient(self.judged, batch["x"]) ** 2) / 8


def test_loss_of_slopes_trains_and_keeps_assignments():
    module, batches = Penalized(), boring_batches(3, units=1)
    before = weights_of(module)[KERNEL]
    quiet_trainer().fit(module, batches)
    np.testing.assert_allclose(weights_of(module)[KERNEL], before * (1 - 2 * module.learning_rate) ** 3, rtol=1e-5)
    np.testing.assert_allclose(weights_of(module)["seen"], sum(batch["x"].sum() for batch in batches), rtol=1e-4)


def test_values_logged_in_the_function():
    class Logs(Penalized):
        def judged(self, x):
            self.log("inner", ops.sum(x), batch_size=2)
            return self.model(x) ** 2

        def training_step(self, batch, batch_idx):
            def slopes(x):
                self.log("middle", ops.max(x))
                return kgenre.gradient(self.judged, x)

            self.log("outer", 1.0)
            loss = ops.sum(kgenre.gradient(slopes, batch["x"]))
            self.log("train/loss", loss)
            return loss

    (batch,) = boring_batches(1, units=1)
    trainer = quiet_trainer()
    trainer.fit(Logs(), [batch])
    expected = {"inner": batch["x"].sum(), "middle": batch["x"].max(), "outer": 1.0}
    assert {name: trainer.callback_metrics[name] for name in expected} == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("called_before", [False, True])
def test_losses_of_inner_layers_are_counted_once(called_before):
    class Regularized(Penalized):
        def __init__(self):
            super().__init__()
            self.model = keras.Sequential([keras.Input((4,)), keras.layers.ActivityRegularization(l2=1.0)])
            self.scale = keras.Variable(1.0)  # what the regulariser shrinks

        def training_step(self, batch, batch_idx):
            output = self.model(batch["x"] * self.scale) if called_before else 0.0  # the next call discards its loss
            slopes = kgenre.gradient(lambda x: self.model(x * self.scale), batch["x"])
            return 0.0 * (ops.sum(slopes) + ops.sum(output))

    (batch,) = boring_batches(1, units=1)
    module = Regularized()
    quiet_trainer().fit(module, [batch])
    scale = 1.0 - module.learning_rate * 2 * np.sum(batch["x"] ** 2) / 8  # Keras divides by the number of rows
    np.testing.assert_allclose(weights_of(module)["scale"], scale, rtol=1e-4)


def test_second_derivatives_structures_and_unused_inputs():
    class Cubic(BoringModule):
        def predict_step(self, batch, batch_idx):
            def slope(x):
                return kgenre.gradient(lambda x: x**3, x)

            of_both = kgenre.gradient(lambda given: given["x"] ** 2 + self.model(given["x"])[:, :1] * 0, batch)
            return kgenre.gradient(slope, batch["x"]), of_both

    (batch,) = boring_batches(1)
    ((second, of_both),) = quiet_trainer().predict(Cubic(), [batch])
    np.testing.assert_allclose(second, 6 * batch["x"], rtol=1e-5)
    np.testing.assert_allclose(of_both["x"], 2 * batch["x"], rtol=1e-5)
    assert of_both["y"].shape == batch["y"].shape
    assert not of_both["y"].any()


def test_outside_a_step_no_variable_is_changed():
    module = Penalized()
    slopes = kgenre.gradient(module.judged, np.ones((2, 4), "float32"))
    np.testing.assert_allclose(ops.convert_to_numpy(slopes), [weights_of(module)[KERNEL][:, 0]] * 2, rtol=1e-5)
    assert weights_of(module)["seen"] == 0
