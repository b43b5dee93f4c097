"""The faster Bidirectional against Keras's own, with the same weights, seeds and dropout."""

import functools

import keras
import numpy as np
import pytest
from keras import ops
from numpy_weights import numpy_weights

from kgenre.models.bidirectional import Bidirectional

# Mask, rates of dropout and recurrent dropout, return_sequences.
CASES = [
    ("padded", (0.0, 0.0), False),
    ("padded", (0.5, 0.2), True),
    ("none", (0.5, 0.0), True),
    ("anywhere", (0.0, 0.2), True),
]
B, T, D, H = 4, 18, 5, 3  # the GPU's loop takes eight steps at a time: two iterations, and two steps


X = np.random.default_rng(0).standard_normal((B, T, D)).astype("float32")
MASKS = {
    "padded": np.arange(T) < np.array([T, 3, 1, 0])[:, None],  # sequences of all, 3, 1 and 0 words
    "anywhere": np.random.default_rng(2).random((B, T)) < 0.5,
    "none": None,
}


@pytest.fixture
def words():
    """Sequences of words, float32 (4, 18, 5), with their mask (4, 18)."""
    return X, MASKS["padded"]


def layer(kind, rates, return_sequences=True, **options):
    options |= {"dropout": rates[0], "recurrent_dropout": rates[1], "return_sequences": return_sequences}
    backward = keras.layers.LSTM(H, seed=4, go_backwards=True, **options)  # with masks of its own
    made = kind(keras.layers.LSTM(H, seed=3, **options), backward_layer=backward)
    with numpy_weights():
        made.build((B, T, D))
    random = np.random.default_rng(1)
    made.set_weights(
        [w if w.dtype == "uint32" else random.standard_normal(w.shape).astype("float32") for w in made.get_weights()]
    )
    return made


def value_and_gradients(made, x, mask, training):
    """Outputs, and the gradients of a weighted sum of them with respect to the inputs and the weights."""
    weights = made.trainable_variables
    signs = np.cos(np.arange(2 * H)).astype("float32")

    if keras.backend.backend() == "jax":
        import jax

        def total(x, values):
            others = [v.value for v in made.non_trainable_variables]
            y, _ = made.stateless_call(values, others, x, mask=mask, training=training)
            return ops.sum(ops.square(y) * signs), y

        (_, y), (dx, dw) = jax.value_and_grad(total, (0, 1), has_aux=True)(x, [v.value for v in weights])
        return [np.asarray(a) for a in (y, dx, *dw)]
    import tensorflow as tf

    # Compiled, as in training: eagerly, each step of Keras's loop would be dispatched on its own.
    @tf.function(autograph=False)
    def compute(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = made(x, mask=mask, training=training)
            total = tf.reduce_sum(tf.square(y) * signs)
        return [y, *tape.gradient(total, [x, *(v.value for v in weights)])]

    return [a.numpy() for a in compute(tf.constant(x))]


@functools.cache
def expected(mask, rates, return_sequences):
    """Outputs and gradients of Keras's layer, the same for every `way`: computed once."""
    return value_and_gradients(layer(keras.layers.Bidirectional, rates, return_sequences), X, MASKS[mask], True)


WAYS = ["cpu", "gpu"] if keras.backend.backend() == "jax" else ["its own"]


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Select JAX's loop for CPUs or the one for GPUs: either runs on this device."""
    if keras.backend.backend() == "jax":
        from kgenre.kernels import masked_lstm_jax

        monkeypatch.setattr(masked_lstm_jax, "platform_loop", lambda: request.param)


@pytest.mark.usefixtures("way")
@pytest.mark.skipif(keras.backend.backend() not in ("jax", "tensorflow"), reason="no kernel: Keras computes it itself")
@pytest.mark.parametrize(("mask", "rates", "return_sequences"), CASES)
def test_outputs_and_gradients_match_keras(mask, rates, return_sequences, monkeypatch):
    wanted = expected(mask, rates, return_sequences)
    ours = layer(Bidirectional, rates, return_sequences)
    monkeypatch.setattr(keras.layers.Bidirectional, "call", lambda *_, **__: pytest.fail("not through the kernel"))
    for got, want in zip(value_and_gradients(ours, X, MASKS[mask], True), wanted, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)


def test_dropout_only_in_training_and_new_each_time(words):
    x, mask = words
    made = layer(Bidirectional, (0.5, 0.2))
    calm = [ops.convert_to_numpy(made(x, mask=mask, training=False)) for _ in range(2)]
    np.testing.assert_array_equal(*calm)
    noisy = [ops.convert_to_numpy(made(x, mask=mask, training=True)) for _ in range(2)]
    assert np.abs(noisy[0] - noisy[1]).max() > 1e-3


@pytest.mark.usefixtures("way")
def test_a_rate_of_1_drops_nothing_as_in_keras(words):
    x, mask = words
    ours, keras_own = (
        layer(kind, (1.0, 1.0))(x, mask=mask, training=True) for kind in (Bidirectional, keras.layers.Bidirectional)
    )
    np.testing.assert_allclose(ops.convert_to_numpy(ours), ops.convert_to_numpy(keras_own), atol=1e-5)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("given", ["integers", "float64", "mask of integers", "mask with a third axis"])
def test_inputs_and_masks_of_other_kinds(words, given):
    """A kernel would round integers' outputs to integers, and compute float64 in float32."""
    x, mask = map(ops.convert_to_tensor, words)
    if given == "integers":
        x = ops.cast(5 * x, "int32")
    elif "mask" in given:
        mask = ops.cast(mask, "int32") if "integers" in given else mask[..., None]
    options = {"dtype": "float64"} if given == "float64" else {}
    kinds = [functools.partial(kind, **options) for kind in (Bidirectional, keras.layers.Bidirectional)]
    ours, keras_own = (layer(kind, (0.0, 0.0), **options) for kind in kinds)
    got, want = (ops.convert_to_numpy(made(x, mask=mask)) for made in (ours, keras_own))
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, atol=1e-12 if got.dtype == "float64" else 1e-6)


@pytest.mark.usefixtures("way")
@pytest.mark.skipif(keras.backend.backend() not in ("jax", "tensorflow"), reason="no kernel: Keras computes it itself")
def test_no_sequences(words):
    x, mask = words
    assert tuple(layer(Bidirectional, (0.0, 0.0))(x[:0], mask=mask[:0]).shape) == (0, T, 2 * H)


def test_options_without_a_kernel_are_computed_by_keras(words):
    x, mask = words
    same = [layer(kind, (0.0, 0.0), activation="relu") for kind in (Bidirectional, keras.layers.Bidirectional)]
    got, want = (ops.convert_to_numpy(made(x, mask=mask)) for made in same)
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_config_round_trip(words):
    x, mask = words
    made = layer(Bidirectional, (0.5, 0.2))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    again.build((B, T, D))
    again.set_weights(made.get_weights())
    assert type(again) is Bidirectional
    got, want = (ops.convert_to_numpy(layer(x, mask=mask)) for layer in (again, made))
    np.testing.assert_array_equal(got, want)
