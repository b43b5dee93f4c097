"""What cuDNN is given, against JAX's reference of it; equality with Keras is in tests/models/test_bidirectional.py."""

import keras
import numpy as np
import pytest

from kgenre.kernels import Direction, masked_lstm

B, T, D, H = 3, 6, 5, 4
LENGTHS = np.array([6, 4, 1])


@pytest.fixture(autouse=True)
def loop(monkeypatch):
    """Under JAX the loop is for GPUs; it computes the same on a CPU."""
    if keras.backend.backend() == "jax":
        from kgenre.kernels import masked_lstm_jax

        monkeypatch.setattr(masked_lstm_jax, "way", lambda directions: "loop")


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


def gpu_under_jax():
    if keras.backend.backend() != "jax":
        return False
    import jax

    return jax.default_backend() == "gpu"


@pytest.mark.skipif(not gpu_under_jax(), reason="needs JAX with a GPU")
class TestThroughCudnn:
    @pytest.mark.parametrize("dropout", [False, True])
    def test_same_as_the_loop_with_its_gradient(self, dropout, monkeypatch):
        import jax

        from kgenre.kernels import masked_lstm_jax

        random = np.random.default_rng(0)
        inputs = random.standard_normal((B, T, D)).astype("float32")
        mask = np.arange(T) < np.array([6, 4, 0])[:, None]
        factors = [(random.random((B, D)) * 2).astype("float32") if dropout else None for _ in range(2)]

        def total(inputs, weights):
            both = [Direction(*each, drop) for each, drop in zip(weights, factors, strict=True)]
            outputs, last = masked_lstm(inputs, mask, *both)
            return sum((array**2).sum() for array in (*outputs, *last)), (outputs, last)

        found = []
        with jax.default_matmul_precision("highest"):
            for way in ("loop", "cudnn"):
                monkeypatch.setattr(masked_lstm_jax, "way", lambda directions, way=way: way)
                weights = [tuple(direction(seed)[:3]) for seed in range(2)]
                found.append(jax.jit(jax.grad(total, (0, 1), has_aux=True))(inputs, weights))
        for got, want in zip(*map(jax.tree.leaves, found), strict=True):
            np.testing.assert_allclose(got, want, atol=1e-5)

    def test_a_gap_in_the_mask_is_not_computed_wrongly(self, monkeypatch):
        from kgenre.kernels import masked_lstm_jax

        monkeypatch.setattr(masked_lstm_jax, "way", lambda directions: "cudnn")
        mask = np.array([[1, 0, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0], [1] * 6], bool)
        (states, _), _ = masked_lstm(np.ones((B, T, D), "float32"), mask, direction(0), direction(1))
        assert np.isnan(states).all((1, 2)).tolist() == [True, False, False]


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
