"""The way through cuDNN against the loop; the loop against Keras is in tests/models/test_bidirectional.py."""

import keras
import numpy as np
import pytest

from kgenre.kernels import Direction, masked_lstm

B, T, D, H = 3, 6, 5, 4
LENGTHS = np.array([6, 4, 0])
MASK = np.arange(T) < LENGTHS[:, None]
BACKEND = keras.backend.backend()


@pytest.fixture
def go(monkeypatch):
    """Takes one of JAX's ways, whatever the device."""
    from kgenre.kernels import masked_lstm_jax

    return lambda way: monkeypatch.setattr(masked_lstm_jax, "way", lambda directions: way)


@pytest.fixture
def cudnn(monkeypatch):
    """The real one where there is a GPU; elsewhere the function by which JAX documents it, weights packed as for it."""
    import jax
    from jax.experimental import rnn

    def reference(x, h_0, c_0, weights, lengths, input_size, hidden_size, num_layers, dropout, bidirectional):
        sizes = input_size, hidden_size, num_layers
        unpacked = rnn.unpack_lstm_weights(weights, *sizes, bidirectional)
        return rnn.lstm_ref(x, h_0, c_0, *unpacked, lengths, *sizes, dropout, bidirectional)

    if jax.default_backend() != "gpu":
        monkeypatch.setattr(rnn, "lstm", reference)


def direction(seed, **dropout):
    random = np.random.default_rng(seed)
    shapes = (D, 4 * H), (H, 4 * H), (4 * H,)
    return Direction(*(random.standard_normal(shape).astype("float32") for shape in shapes), **dropout)


@pytest.mark.skipif(BACKEND != "jax", reason="JAX's way to cuDNN")
@pytest.mark.usefixtures("cudnn")
class TestThroughCudnn:
    @pytest.mark.parametrize("dropout", [False, True])
    def test_same_as_the_loop_with_its_gradient(self, dropout, go):
        import jax

        random = np.random.default_rng(0)
        inputs = random.standard_normal((B, T, D)).astype("float32")
        factors = [(random.random((B, D)) * 2).astype("float32") if dropout else None for _ in range(2)]

        def total(inputs, weights):
            both = [Direction(*each, drop) for each, drop in zip(weights, factors, strict=True)]
            outputs, last = masked_lstm(inputs, MASK, *both)
            return sum((array**2).sum() for array in (*outputs, *last)), (outputs, last)

        found = []
        with jax.default_matmul_precision("highest"):
            for way in ("loop", "cudnn"):
                go(way)
                weights = [tuple(direction(seed)[:3]) for seed in range(2)]
                found.append(jax.jit(jax.grad(lambda *a: total(*a), (0, 1), has_aux=True))(inputs, weights))
        for got, want in zip(*map(jax.tree.leaves, found), strict=True):
            np.testing.assert_allclose(got, want, atol=1e-5)

    def test_a_gap_in_the_mask_is_not_computed_wrongly(self, go):
        go("cudnn")
        mask = np.array([[1, 0, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0], [1] * 6], bool)
        (states, _), _ = masked_lstm(np.ones((B, T, D), "float32"), mask, direction(0), direction(1))
        assert np.isnan(states).all((1, 2)).tolist() == [True, False, False]

    def test_other_inputs_for_each_gate_are_left_to_keras(self, go):
        go("cudnn")
        gates = direction(0, input_dropout=np.ones((4, B, D), "float32"))
        with pytest.raises(NotImplementedError, match="one input"):
            masked_lstm(np.ones((B, T, D), "float32"), MASK, gates, gates)


@pytest.mark.skipif(BACKEND not in ("jax", "tensorflow"), reason="no kernel")
def test_half_precision_comes_back_as_it_came(request):
    if BACKEND == "jax":
        request.getfixturevalue("go")("loop")
    inputs = np.random.default_rng(0).standard_normal((B, T, D))
    mask, both = keras.ops.convert_to_tensor(MASK), [direction(seed) for seed in (0, 1)]
    half, full = (
        masked_lstm(keras.ops.convert_to_tensor(inputs, dtype), mask, *both) for dtype in ("bfloat16", "float32")
    )
    assert keras.backend.standardize_dtype(half[0][0].dtype) == "bfloat16"
    got, want = (keras.ops.convert_to_numpy(keras.ops.cast(each[0][0], "float32")) for each in (half, full))
    np.testing.assert_allclose(got, want, atol=0.05)


def test_an_unknown_backend_is_left_to_keras(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(NotImplementedError):
        masked_lstm(None, None, direction(0), direction(1))
