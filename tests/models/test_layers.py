"""The layers accept Keras's arguments, and compute as Keras does where a kernel does not support them."""

import keras
import numpy as np
import pytest
from keras import ops

from kgenre.models.evidence_sum import EvidenceSum
from kgenre.models.frequent_words import FrequentWords
from kgenre.models.fused_log_odds import FusedLogOdds
from kgenre.models.genre_head import GenreHead
from kgenre.models.layers import BatchNormalization, Conv2D, Dropout, MaxPooling2D
from kgenre.models.linear_subwords import LinearSubwords
from kgenre.models.linear_words import LinearWords
from kgenre.models.masked_pooling import MaskedPooling
from kgenre.models.word_dropout import WordDropout
from kgenre.models.word_vectors import WordVectors

X = np.random.default_rng(0).random((2, 6, 5, 3)).astype("float32")


@pytest.mark.parametrize("arguments", [{"rate": 0.0}, {"rate": 0.4}, {"rate": 0.4, "noise_shape": (2, 1, 1, 3)}])
def test_dropout(arguments):
    layer = Dropout(**arguments, seed=0)
    np.testing.assert_array_equal(layer(X), X)
    trained = ops.convert_to_numpy(layer(X, training=True))
    dropped = trained == 0
    np.testing.assert_allclose(trained[~dropped], X[~dropped] / (1 - arguments["rate"]), rtol=1e-6)
    assert dropped.any() == (arguments["rate"] > 0)
    assert (trained != ops.convert_to_numpy(layer(X, training=True))).any() == (arguments["rate"] > 0)
    if "noise_shape" in arguments:
        assert (dropped == dropped[:, :1, :1]).all()


@pytest.mark.parametrize(
    "arguments", [{}, {"padding": "same"}, {"strides": 1}, {"pool_size": 3}, {"data_format": "channels_first"}]
)
def test_pooling_matches_keras(arguments):
    if keras.backend.backend() == "tensorflow" and "data_format" in arguments:
        pytest.skip("TensorFlow pools channels first on a GPU only")
    ours, keras_own = MaxPooling2D(**arguments), keras.layers.MaxPooling2D(**arguments)
    np.testing.assert_array_equal(ours(X), keras_own(X))
    assert ours.compute_output_shape(X.shape) == keras_own.compute_output_shape(X.shape)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"padding": "same", "strides": 2}, {"dilation_rate": 2}, {"groups": 3}, {"data_format": "channels_first"}],
)
def test_convolution_matches_keras(arguments):
    if keras.backend.backend() == "tensorflow" and ("data_format" in arguments or "groups" in arguments):
        pytest.skip("of these TensorFlow takes the gradient on a GPU only")
    normal = keras.initializers.RandomNormal
    ours, keras_own = (
        layer(6, 2, kernel_initializer=normal(seed=0), bias_initializer=normal(seed=1), **arguments)
        for layer in (Conv2D, keras.layers.Conv2D)
    )
    np.testing.assert_allclose(*(ops.convert_to_numpy(layer(X)) for layer in (ours, keras_own)), rtol=1e-6)
    assert ours.compute_output_shape(X.shape) == keras_own.compute_output_shape(X.shape)


MASK = np.random.default_rng(1).random(X.shape[:3]) < 0.5


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        ({}, {"training": True}),
        ({"momentum": 0.5, "epsilon": 0.1, "dtype": "mixed_bfloat16"}, {"training": True}),
        ({"trainable": False}, {"training": True}),
        ({}, {}),
        ({}, {"training": True, "mask": MASK}),
        ({"axis": 1}, {"training": True}),
        ({"scale": False}, {"training": True}),
        ({"center": False}, {"training": True}),
        ({"renorm": True}, {"training": True}),
        ({"dtype": "float64"}, {"training": True}),
    ],
)
def test_batch_normalization_matches_keras(arguments, call):
    normal = keras.initializers.RandomNormal
    start = {"beta_initializer": normal(seed=0), "gamma_initializer": normal(seed=1)}
    ours, keras_own = (layer(**start, **arguments) for layer in (BatchNormalization, keras.layers.BatchNormalization))
    for _ in range(2):
        got, want = (layer(5 * X, **call) for layer in (ours, keras_own))
    assert got.dtype == want.dtype
    for mine, other in zip((got, *ours.weights), (want, *keras_own.weights), strict=True):
        mine, other = (ops.convert_to_numpy(ops.cast(each, "float32")) for each in (mine, other))
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


def test_batch_normalization_with_bfloat16_weights():
    """bf16-true: squares are still computed in float32, as in Keras."""
    layers = [layer(dtype="bfloat16", momentum=0.5) for layer in (BatchNormalization, keras.layers.BatchNormalization)]
    ours, keras_own = ([layer(5 * X, training=True), *layer.weights] for layer in layers)
    for mine, other in zip(ours, keras_own, strict=True):
        assert mine.dtype == other.dtype
        mine, other = (ops.convert_to_numpy(ops.cast(each, "float32")) for each in (mine, other))
        np.testing.assert_allclose(mine, other, rtol=2e-2, atol=2e-2)


LAYERS = [
    BatchNormalization(momentum=0.9),
    Dropout(0.3, seed=1),
    MaxPooling2D(3),
    Conv2D(4, 3, activation="relu"),
    MaskedPooling("max"),
]
LAYERS += [BatchNormalization(momentum=0.9)]
LAYERS += [EvidenceSum(0.3, seed=1), WordDropout(0.3, seed=1), FusedLogOdds(mean=True), GenreHead(4, scale=0.3)]
LAYERS += [FrequentWords(9, min_df=4), WordVectors(9, 5, genres=2), LinearWords(4, 9, scale=0.3)]
LAYERS += [LinearSubwords(4, 9, subwords=8, per_word=7, min_df=6, scale=0.3)]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_config_round_trip(layer):
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()
    own, found = ({name: of for name, of in vars(one).items() if isinstance(of, int | float)} for one in (layer, again))
    assert found == own


@pytest.mark.parametrize("layer", [EvidenceSum, WordDropout])
@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_wrong_rates(layer, rate):
    with pytest.raises(ValueError, match=f"rate must be at least 0 and below 1. Received: rate={rate}"):
        layer(rate)
