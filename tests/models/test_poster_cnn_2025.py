"""The 2025 poster CNN against the course's table, row by row."""

import keras
import numpy as np
import pytest

from kgenre.models import poster_cnn_2025

COURSE = [  # name, class, output without the batch, parameters
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


@pytest.fixture(scope="module")
def model():
    return poster_cnn_2025()


@pytest.mark.parametrize(("index", "row"), list(enumerate(COURSE)), ids=[row[0] for row in COURSE])
def test_layer_is_the_courses(model, index, row):
    layer = model.layers[index]
    assert (layer.name, type(layer).__name__, layer.output.shape[1:], layer.count_params()) == row


def test_whole_is_the_courses(model):
    assert len(model.layers) == len(COURSE)
    assert model.count_params() == 658_873
    assert model.input_shape == (None, 64, 64, 3)
    assert model.get_layer("Output").activation.__name__ == "sigmoid"
    assert model.get_layer("Dense1").activation.__name__ == "relu"
    assert [model.get_layer(f"Block{i}").dropout for i in (1, 2, 3, 4)] == [0.2] * 4
    assert model.get_layer("DropDense").rate == 0.5


def test_output_is_a_float32_probability_per_genre(model):
    pixels = np.random.default_rng(0).random((3, 64, 64, 3), dtype="float32")
    probabilities = keras.ops.convert_to_numpy(model(pixels))
    assert probabilities.shape == (3, 25)
    assert probabilities.dtype == np.float32
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert (probabilities.sum(1) > 5).all()


def test_arguments_reach_the_layers():
    model = poster_cnn_2025(genres=7, image_size=(96, 64), dropout=0.1, dense_dropout=0.3)
    assert model.get_layer("Block4").output.shape == (None, 12, 8, 128)
    assert model.output_shape == (None, 7)
    assert model.get_layer("Block2").drop1.rate == model.get_layer("Block2").drop2.rate == 0.1
    assert model.get_layer("DropDense").rate == 0.3


def test_too_small_a_poster_is_named():
    assert poster_cnn_2025(image_size=(8, 8)).get_layer("Block4").output.shape == (None, 1, 1, 128)
    with pytest.raises(ValueError, match=r"at least 8 pixels.*Received: image_size=\(7, 64\)"):
        poster_cnn_2025(image_size=(7, 64))


def test_mixed_precision_reaches_into_the_blocks():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = poster_cnn_2025()
    finally:
        keras.config.set_dtype_policy(before)
    assert model.get_layer("Block3").conv2.compute_dtype == "bfloat16"
    assert {weight.dtype for weight in model.trainable_variables} == {"float32"}
    assert model.outputs[0].dtype == "float32"
