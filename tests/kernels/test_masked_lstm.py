"""What cuDNN is given, against JAX's reference of it; equality with Keras is in tests/models/test_bidirectional.py."""

import keras
import numpy as np
import pytest

from kgenre.kernels import Direction, masked_lstm

B, T, D, H = 3, 6, 5, 4
LENGTHS = np.array([6, 4, 1])


def direction(seed, **dropout):
    random = np.random.default_rng(seed)
    shapes = (D, 4 * H), (H, 4 * H), (4 * H,)
    return Direction(*(random.standard_normal(shape).astype("float32") for shape in shapes), **dropout)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's way to cuDNN")
class TestOperandsOfCudnn:
    @pytest.mark.parametrize("dropout", [False, True])
    def test_reference_agrees_with_the_loop(self, dropout):
        """The packed weights, gate order and lengths, through the function that documents cuDNN's."""
        import jax.numpy as jnp
        from jax.experimental import rnn

        from kgenre.kernels.masked_lstm_jax import cudnn_operands

        random = np.random.default_rng(0)
        inputs = jnp.asarray(random.standard_normal((B, T, D)), "float32")
        rates = [{"input_dropout": jnp.asarray(random.random((B, D)) * 2, "float32")} if dropout else {}] * 2
        both = tuple(Direction(*map(jnp.asarray, direction(seed)[:3]), **rates[seed]) for seed in range(2))
        x, packed, features = cudnn_operands(inputs, both)
        weights = rnn.unpack_lstm_weights(packed, features, H, 1, True)
        start = jnp.zeros((2, B, H))
        outputs, last, _ = rnn.lstm_ref(
            x, start, start, *weights, jnp.asarray(LENGTHS, "int32"), features, H, 1, 0.0, True
        )
        (first, second), ends = masked_lstm(inputs, np.arange(T) < LENGTHS[:, None], *both)
        np.testing.assert_allclose(outputs, np.concatenate([first, second], -1), atol=1e-5)
        np.testing.assert_allclose(last, np.stack(ends), atol=1e-5)

    def test_other_inputs_for_each_gate_are_refused(self):
        from kgenre.kernels.masked_lstm_jax import cudnn_operands

        gates = direction(0, input_dropout=np.ones((4, B, D), "float32"))
        with pytest.raises(NotImplementedError, match="one input"):
            cudnn_operands(np.ones((B, T, D), "float32"), (gates, gates))


@pytest.mark.skipif(keras.backend.backend() not in ("jax", "tensorflow"), reason="no kernel")
def test_half_precision_comes_back_as_it_came():
    mask = np.arange(T) < LENGTHS[:, None]
    inputs = np.random.default_rng(0).standard_normal((B, T, D))
    half, full = (
        masked_lstm(
            keras.ops.convert_to_tensor(inputs, dtype), keras.ops.convert_to_tensor(mask), *map(direction, (0, 1))
        )
        for dtype in ("bfloat16", "float32")
    )
    assert keras.backend.standardize_dtype(half[0][0].dtype) == "bfloat16"
    got, want = (keras.ops.convert_to_numpy(keras.ops.cast(each[0][0], "float32")) for each in (half, full))
    np.testing.assert_allclose(got, want, atol=0.05)


def test_an_unknown_backend_is_left_to_keras(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(NotImplementedError):
        masked_lstm(None, None, direction(0), direction(1))
