"""``Trainer(detect_anomaly=True)`` reports the first value that is not finite, and where it comes from."""

import keras
import numpy as np
import pytest
from boring import BoringModule, boring_batches, quiet_trainer, weights_of
from keras import ops

from kgenre.callbacks.anomaly_detection import AnomalyError


class Net(BoringModule):
    """Produces NaN or infinity on the second batch, whose targets are all 7, in the part that ``how`` names."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.log_layer = keras.layers.Lambda(lambda x: ops.log(x), output_shape=lambda s: s, name="logarithm")
        self.after = keras.layers.Dense(1, name="after")

    def training_step(self, batch, batch_idx):
        predicted = self.model(batch["x"], training=True)
        marked = ops.cast(ops.all(batch["y"] == 7.0), "float32")
        loss = ops.mean((predicted - batch["y"]) ** 2)
        if self.how == "layer":
            loss = loss + ops.mean(self.after(self.log_layer(1.0 - marked * (2.0 + predicted**2))))
        if self.how == "loss":
            loss = loss + 0.0 / (1.0 - marked)
        if self.how == "gradient":  # the root's slope at 0 is infinite
            loss = loss + ops.sum(ops.sqrt(ops.abs(predicted) * (1.0 - marked)))
        return loss


def batches_of_three(how):
    batches = boring_batches(3)
    batches[1]["y"] = np.full_like(batches[1]["y"], 7.0)
    if how == "batch":
        batches[1]["x"][0, 0] = np.nan
    return batches


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("batch", r"the batch itself contains NaN or infinity \(x\)"),
        ("layer", r"the first layer whose output is not finite is 'logarithm' \(Lambda\)"),
        ("loss", "the loss is (nan|inf), though every layer's output is finite"),
        ("gradient", r"its gradient is not finite for model\.layers\.0\.kernel"),
    ],
)
def test_reports_the_source(how, named):
    module = Net(how)
    with pytest.raises(AnomalyError, match=f"in epoch 1, batch 2, .*{named}"):
        quiet_trainer(detect_anomaly=True).fit(module, batches_of_three(how))
    assert all(np.isfinite(array).all() for array in weights_of(module).values())
    assert all("call" not in vars(layer) for layer in (module.model, module.log_layer, module.after))


def test_finite_run_is_not_changed():
    watched, plain = BoringModule(dropout=0.3), BoringModule(dropout=0.3)
    quiet_trainer(detect_anomaly=True).fit(watched, boring_batches())
    quiet_trainer().fit(plain, boring_batches())
    for name, array in weights_of(plain).items():
        np.testing.assert_array_equal(weights_of(watched)[name], array)


def test_nothing_is_checked_without_the_flag():
    module = Net("gradient")
    quiet_trainer().fit(module, batches_of_three("gradient"))
    assert not np.isfinite(weights_of(module)["model.layers.0.kernel"]).all()
