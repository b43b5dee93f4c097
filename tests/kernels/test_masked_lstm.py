"""What the layer's comparison with Keras (tests/models/test_bidirectional.py) does not cover."""

import keras
import numpy as np
import pytest

from kgenre.kernels import Direction, masked_lstm

B, T, D, H = 3, 6, 5, 4
LENGTHS = np.array([6, 4, 0])
MASK = np.arange(T) < LENGTHS[:, None]
BACKEND = keras.backend.backend()


def direction(seed):
    random = np.random.default_rng(seed)
    shapes = (D, 4 * H), (H, 4 * H), (4 * H,)
    return Direction(*(random.standard_normal(shape).astype("float32") for shape in shapes))


@pytest.mark.skipif(BACKEND not in ("jax", "tensorflow"), reason="no kernel")
def test_bfloat16_stays_bfloat16(monkeypatch):
    if BACKEND == "jax":
        from kgenre.kernels import masked_lstm_jax

        monkeypatch.setattr(masked_lstm_jax, "platform_loop", lambda: "gpu")
    inputs = np.random.default_rng(0).standard_normal((B, T, D))
    mask, both = keras.ops.convert_to_tensor(MASK), [direction(seed) for seed in (0, 1)]
    half, full = (
        masked_lstm(keras.ops.convert_to_tensor(inputs, dtype), mask, *both) for dtype in ("bfloat16", "float32")
    )
    assert keras.backend.standardize_dtype(half[0][0].dtype) == "bfloat16"
    got, want = (keras.ops.convert_to_numpy(keras.ops.cast(each[0][0], "float32")) for each in (half, full))
    np.testing.assert_allclose(got, want, atol=0.05)


def test_unknown_backend_is_left_to_keras(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(NotImplementedError):
        masked_lstm(None, None, direction(0), direction(1))
