"""The course's networks against its tables, row by row."""

import keras
import numpy as np
import pytest
from numpy_weights import numpy_weights

from kgenre.models import overview_lstm, poster_cnn_2024, poster_cnn_2025

# For each layer: name, class, output shape without the batch, number of parameters.
POSTER_CNN_2024 = [
    ("Conv0", "Conv2D", (32, 32, 16), 448),
    ("Drop1", "Dropout", (32, 32, 16), 0),
    ("Conv1", "Conv2D", (32, 32, 32), 4_640),
    ("Conv2", "Conv2D", (32, 32, 32), 9_248),
    ("Drop2", "Dropout", (32, 32, 32), 0),
    ("Pool1", "MaxPooling2D", (16, 16, 32), 0),
    ("Conv3", "Conv2D", (16, 16, 64), 18_496),
    ("Conv4", "Conv2D", (16, 16, 64), 36_928),
    ("Drop3", "Dropout", (16, 16, 64), 0),
    ("Pool2", "MaxPooling2D", (8, 8, 64), 0),
    ("Conv5", "Conv2D", (8, 8, 128), 73_856),
    ("Conv6", "Conv2D", (8, 8, 128), 147_584),
    ("Drop4", "Dropout", (8, 8, 128), 0),
    ("Pool3", "MaxPooling2D", (4, 4, 128), 0),
    ("Flat", "Flatten", (2048,), 0),
    ("FC1", "Dense", (1024,), 2_098_176),
    ("Drop5", "Dropout", (1024,), 0),
    ("FC2", "Dense", (1024,), 1_049_600),
    ("Drop6", "Dropout", (1024,), 0),
    ("Output", "Dense", (25,), 25_625),
]
POSTER_CNN_2025 = [
    ("StemConv", "Conv2D", (64, 64, 32), 896),
    ("Block1", "ResidualBlock", (64, 64, 32), 19_552),
    ("Pool1", "MaxPooling2D", (32, 32, 32), 0),
    ("Block2", "ResidualBlock", (32, 32, 64), 57_536),
    ("Pool2", "MaxPooling2D", (16, 16, 64), 0),
    ("Block3", "ResidualBlock", (16, 16, 128), 229_760),
    ("Pool3", "MaxPooling2D", (8, 8, 128), 0),
    ("Block4", "ResidualBlock", (8, 8, 128), 311_680),
    ("GAP", "GlobalAveragePooling2D", (128,), 0),
    ("Dense1", "Dense", (256,), 33_024),
    ("DropDense", "Dropout", (256,), 0),
    ("Output", "Dense", (25,), 6_425),
]
OVERVIEW_LSTM_2025 = [  # the network of 2024 has embeddings of 256
    ("Embedding", "Embedding", (None, 265), 2_650_000),
    ("BiLSTM1", "Bidirectional", (None, 512), 1_069_056),
    ("BiLSTM2", "Bidirectional", (256,), 656_384),
    ("Dense1", "Dense", (128,), 32_896),
    ("DropDense", "Dropout", (128,), 0),
    ("Output", "Dense", (25,), 3_225),
]
NETWORKS = {
    "poster_cnn_2024": (poster_cnn_2024, POSTER_CNN_2024, 3_464_601),
    "poster_cnn_2025": (poster_cnn_2025, POSTER_CNN_2025, 658_873),
    "overview_lstm": (lambda: overview_lstm(embedding_dim=265), OVERVIEW_LSTM_2025, 4_411_561),
}
SMALL = {
    "poster_cnn_2024": lambda: poster_cnn_2024(image_size=(16, 16)),
    "poster_cnn_2025": lambda: poster_cnn_2025(image_size=(16, 16)),
    "overview_lstm": lambda: overview_lstm(vocabulary_size=50, embedding_dim=8),
}


@pytest.fixture(scope="module")
def models():
    with numpy_weights():
        return {name: build() for name, (build, *_) in NETWORKS.items()}


@pytest.fixture(scope="module")
def small():
    """The networks with fewer pixels and words, for tests that run them."""
    with numpy_weights():
        return {name: build() for name, build in SMALL.items()}


@pytest.fixture(scope="module")
def tokens():
    """Four films of 12, 5, 1 and no words, padded on the right to 12."""
    ids = np.random.default_rng(0).integers(1, 50, (4, 12)).astype("int32")
    ids[np.arange(12) >= np.array([[12], [5], [1], [0]])] = 0
    return ids


def predict(model, inputs):
    return keras.ops.convert_to_numpy(model(inputs, training=False))


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_match_the_course(models, name):
    _, rows, total = NETWORKS[name]
    model = models[name]
    of = [(layer.name, type(layer).__name__, layer.output.shape[1:], layer.count_params()) for layer in model.layers]
    assert of == rows
    assert model.count_params() == total
    activations = {layer.name: layer.activation.__name__ for layer in model.layers if hasattr(layer, "activation")}
    assert activations.pop("Output") == "sigmoid"
    assert set(activations.values()) == {"relu"}


def test_lstm_of_2024_has_smaller_embeddings():
    with numpy_weights():
        assert overview_lstm().count_params() == 4_303_129


def test_rates_and_strides_match_the_course(models):
    first, second, text = models.values()
    assert [layer.rate for layer in first.layers if "Drop" in layer.name] == [0.2] * 4 + [0.5] * 2
    strides = {layer.name: layer.strides for layer in first.layers if "Conv" in layer.name}
    assert strides.pop("Conv0") == (2, 2)
    assert set(strides.values()) == {(1, 1)}
    assert second.input_shape == (None, 64, 64, 3)
    assert [second.get_layer(f"Block{i}").dropout for i in (1, 2, 3, 4)] == [0.2] * 4
    assert second.get_layer("DropDense").rate == 0.5
    for wrapper in (text.get_layer(name) for name in ("BiLSTM1", "BiLSTM2")):
        for lstm in (wrapper.forward_layer, wrapper.backward_layer):
            assert (lstm.dropout, lstm.recurrent_dropout) == (0.5, 0.2)
    assert text.get_layer("DropDense").rate == 0.8


@pytest.mark.parametrize("name", NETWORKS)
def test_output_is_a_float32_probability_per_genre(small, tokens, name):
    pixels = np.random.default_rng(0).random((4, 16, 16, 3), dtype="float32")
    probabilities = predict(small[name], tokens if name == "overview_lstm" else pixels)
    assert probabilities.shape == (4, 25)
    assert probabilities.dtype == np.float32
    assert ((probabilities > 0) & (probabilities < 1)).all()
    # A softmax would sum to 1, an untrained sigmoid to about half the genres.
    assert (probabilities.sum(1) > 5).all()


def test_arguments_reach_the_layers():
    with numpy_weights():
        model = poster_cnn_2024(genres=7, image_size=(96, 64), dropout=0.1, dense_dropout=0.3)
        second = poster_cnn_2025(genres=7, image_size=(96, 64), dropout=0.1, dense_dropout=0.3)
        text = overview_lstm(7, 50, 8, dropout=0.1, recurrent_dropout=0.0, dense_dropout=0.3)
    assert (model.input_shape, model.output_shape) == ((None, 96, 64, 3), (None, 7))
    assert model.get_layer("Flat").output.shape == (None, 6 * 4 * 128)
    assert [layer.rate for layer in model.layers if "Drop" in layer.name] == [0.1] * 4 + [0.3] * 2
    assert second.get_layer("Block4").output.shape == (None, 12, 8, 128)
    assert second.output_shape == (None, 7)
    assert second.get_layer("Block2").drop1.rate == second.get_layer("Block2").drop2.rate == 0.1
    assert second.get_layer("DropDense").rate == 0.3
    assert text.output_shape == (None, 7)
    assert text.get_layer("Embedding").get_weights()[0].shape == (50, 8)
    backward = text.get_layer("BiLSTM2").backward_layer
    assert (backward.dropout, backward.recurrent_dropout) == (0.1, 0.0)
    assert text.get_layer("DropDense").rate == 0.3


def test_sizes_that_are_too_small_are_refused():
    with numpy_weights():
        least = (
            poster_cnn_2024(image_size=(15, 15)),
            poster_cnn_2025(image_size=(8, 8)),
            overview_lstm(vocabulary_size=3),
        )
    assert least[0].get_layer("Pool3").output.shape == (None, 1, 1, 128)
    with pytest.raises(ValueError, match=r"at least 15 pixels.*Received: image_size=\(64, 14\)"):
        poster_cnn_2024(image_size=(64, 14))
    assert least[1].get_layer("Block4").output.shape == (None, 1, 1, 128)
    with pytest.raises(ValueError, match=r"at least 8 pixels.*Received: image_size=\(7, 64\)"):
        poster_cnn_2025(image_size=(7, 64))
    assert least[2].get_layer("Embedding").input_dim == 3
    with pytest.raises(ValueError, match=r"at least 3.*Received: vocabulary_size=2"):
        overview_lstm(vocabulary_size=2)


@pytest.mark.parametrize("build", [poster_cnn_2024, poster_cnn_2025, lambda: overview_lstm(vocabulary_size=50)])
def test_mixed_precision_computes_in_bfloat16_and_returns_float32(build):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        with numpy_weights():
            model = build()
    finally:
        keras.config.set_dtype_policy(before)
    inside = [
        part for layer in model.layers[:-1] for part in layer._flatten_layers()
    ]  # including those in blocks and in both directions
    assert {part.compute_dtype for part in inside} == {"bfloat16"}
    assert {weight.dtype for weight in model.trainable_variables} == {"float32"}
    assert model.outputs[0].dtype == "float32"


def test_padding_on_the_right_changes_no_prediction(small, tokens):
    model, padded = small["overview_lstm"], np.pad(tokens, ((0, 0), (0, 9)))
    # That is due to the mask: unknown words in the same positions do change predictions.
    unknown = np.where(padded == 0, 1, padded)
    said = predict(model, tokens)
    of_padded, of_unknown = np.split(predict(model, np.concatenate([padded, unknown])), 2)
    np.testing.assert_allclose(of_padded, said, atol=1e-5)
    assert np.abs(of_unknown - said).max() > 1e-5


@pytest.fixture
def odd_keras():
    """Settings that a user's keras.json may contain (tests/engines/test_backend.py reads one)."""
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float16")
    keras.config.set_dtype_policy("float16")
    yield
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


def described(model):
    layers = [(layer.name, layer.output.shape, layer.count_params()) for layer in model.layers]
    weights = {weight.dtype for weight in model.trainable_variables}
    computes = {part.compute_dtype for layer in model.layers for part in layer._flatten_layers()}
    return layers, weights, computes


@pytest.mark.one_backend("tensorflow")
@pytest.mark.parametrize("name", NETWORKS)
def test_global_settings_of_keras_change_nothing(small, odd_keras, name):
    with numpy_weights():
        model = SMALL[name]()
    assert described(model) == described(small[name])
    assert described(model)[1:] == ({"float32"}, {"float32"})
    if name != "overview_lstm":
        pixels = np.random.default_rng(0).random((1, 16, 16, 3), dtype="float32")
        np.testing.assert_array_equal(predict(model, pixels), predict(small[name], pixels))
