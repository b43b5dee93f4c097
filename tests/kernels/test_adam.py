"""Adam in one operation, compared with Keras's."""

import keras
import numpy as np
import pytest
from boring import BoringModule, boring_batches, quiet_trainer, weights_of
from keras import ops

from kgenre.kernels.adam import adam_step

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the others take Keras's")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    "optimizer",
    [
        keras.optimizers.Adam(0.01),
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 5), beta_1=0.5, beta_2=0.9, epsilon=1e-3),
        keras.optimizers.AdamW(0.01, weight_decay=0.1, clipnorm=0.5, use_ema=True, ema_overwrite_frequency=2),
    ],
)
def test_same_as_keras(optimizer, dtype):
    drawn = np.random.default_rng(0)
    start, gradients = drawn.normal(size=(3, 4)), drawn.normal(size=(6, 3, 4)).astype("float32")

    def trained(ours):
        mine = type(optimizer).from_config(optimizer.get_config())
        variables = [keras.Variable(start, dtype=dtype), keras.Variable(2 * start, dtype=dtype)]
        mine.build(variables)
        if ours:
            mine._backend_update_step = lambda *arguments: adam_step(mine, *arguments)
        for gradient in gradients:
            mine.apply([ops.cast(gradient, dtype), ops.cast(-gradient, dtype)], variables)
        return [ops.convert_to_numpy(ops.cast(v, "float32")) for v in (*variables, *mine.variables)]

    for ours, theirs in zip(trained(True), trained(False), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "RMSprop", "amsgrad"])
def test_engine_uses_it_for_networks_with_many_weights(monkeypatch, optimizer):
    class Net(BoringModule):
        def configure_optimizers(self):
            if optimizer == "amsgrad":
                return keras.optimizers.Adam(0.1, amsgrad=True)
            return getattr(keras.optimizers, optimizer)(0.1)

    def trained(many):
        monkeypatch.setattr("kgenre.engines.tensorflow._MANY_WEIGHTS", many)
        keras.utils.set_random_seed(0)
        trainer, net = quiet_trainer(), Net()
        trainer.fit(net, boring_batches(3))
        programs = trainer.engine._programs.values()
        operations = {operation.type for program in programs for operation in program.graph.get_operations()}
        return weights_of(net), "ResourceApplyAdam" in operations

    (ours, is_fused), (theirs, never) = trained(0), trained(10**9)
    assert (is_fused, never) == (optimizer in ("Adam", "AdamW"), False)
    for name, weight in theirs.items():
        np.testing.assert_allclose(ours[name], weight, rtol=1e-3, atol=1e-5)
