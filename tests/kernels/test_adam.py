"""Adam in one operation, compared with Keras's."""

import keras
import numpy as np
import pytest
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
            mine.update_step = lambda *arguments: adam_step(mine, *arguments)
        for gradient in gradients:
            mine.apply([ops.cast(gradient, dtype), ops.cast(-gradient, dtype)], variables)
        return [ops.convert_to_numpy(ops.cast(v, "float32")) for v in (*variables, *mine.variables)]

    for ours, theirs in zip(trained(True), trained(False), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
