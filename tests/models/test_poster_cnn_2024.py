"""The 2024 poster CNN against the course's table, row by row."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from kgenre.models import poster_cnn_2024

COURSE = [  # name, class, output without the batch, parameters
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


@pytest.fixture(scope="module")
def model():
    return poster_cnn_2024()


@pytest.mark.parametrize(("index", "row"), list(enumerate(COURSE)), ids=[row[0] for row in COURSE])
def test_layer_is_the_courses(model, index, row):
    layer = model.layers[index]
    assert (layer.name, type(layer).__name__, layer.output.shape[1:], layer.count_params()) == row


def test_whole_is_the_courses(model):
    assert len(model.layers) == len(COURSE)
    assert model.count_params() == 3_464_601
    activations = {layer.name: layer.activation.__name__ for layer in model.layers if hasattr(layer, "activation")}
    assert activations.pop("Output") == "sigmoid"
    assert set(activations.values()) == {"relu"}
    assert [layer.rate for layer in model.layers if "Drop" in layer.name] == [0.2] * 4 + [0.5] * 2
    strides = {layer.name: layer.strides for layer in model.layers if "Conv" in layer.name}
    assert strides.pop("Conv0") == (2, 2)
    assert set(strides.values()) == {(1, 1)}


def test_output_is_a_float32_probability_per_genre(model):
    pixels = np.random.default_rng(0).random((3, 64, 64, 3), dtype="float32")
    probabilities = keras.ops.convert_to_numpy(model(pixels))
    assert probabilities.shape == (3, 25)
    assert probabilities.dtype == np.float32
    assert ((probabilities > 0) & (probabilities < 1)).all()
    # A softmax would sum to 1, an untrained sigmoid to about half the genres.
    assert (probabilities.sum(1) > 5).all()


def test_arguments_reach_the_layers():
    model = poster_cnn_2024(genres=7, image_size=(96, 64), dropout=0.1, dense_dropout=0.3)
    assert model.input_shape == (None, 96, 64, 3)
    assert model.output_shape == (None, 7)
    assert model.get_layer("Flat").output.shape == (None, 6 * 4 * 128)
    assert [layer.rate for layer in model.layers if "Drop" in layer.name] == [0.1] * 4 + [0.3] * 2


def test_too_small_a_poster_is_named():
    assert poster_cnn_2024(image_size=(15, 15)).get_layer("Pool3").output.shape == (None, 1, 1, 128)
    with pytest.raises(ValueError, match=r"at least 15 pixels.*Received: image_size=\(64, 14\)"):
        poster_cnn_2024(image_size=(64, 14))


def test_mixed_precision_computes_in_bfloat16_and_answers_in_float32():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = poster_cnn_2024()
    finally:
        keras.config.set_dtype_policy(before)
    assert {layer.compute_dtype for layer in model.layers[:-1]} == {"bfloat16"}
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model.outputs[0].dtype == "float32"


# All builders in one process: a fresh Keras costs seconds.
REPORT = """
import json
import keras
import numpy as np
from kgenre.models import overview_lstm
from kgenre.models import poster_cnn_2024
from kgenre.models import poster_cnn_2025
user = [keras.config.image_data_format(), keras.config.floatx()]
keras.utils.set_random_seed(0)
models = [poster_cnn_2024(), poster_cnn_2025(), overview_lstm()]
pixels = np.random.default_rng(0).random((1, 64, 64, 3))
print(json.dumps({
    "user": user,
    "shapes": [[layer.name, layer.output.shape, layer.count_params()] for m in models for layer in m.layers],
    "weights": sorted({weight.dtype for m in models for weight in m.trainable_variables}),
    "computes": sorted({part.compute_dtype for m in models for top in m.layers
                        for part in top._flatten_layers()}),
    "predictions": [keras.ops.convert_to_numpy(m(pixels)).tolist() for m in models[:2]],
}))
"""


def test_keras_json_changes_nothing(tmp_path):
    def report(folder, **settings):
        folder.mkdir()
        settings |= {"backend": keras.backend.backend()}
        (folder / "keras.json").write_text(json.dumps(settings))
        environment = os.environ | {"KERAS_HOME": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", REPORT], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    # One after the other: under JAX the second finds what the first has compiled.
    usual = report(tmp_path / "usual", image_data_format="channels_last", floatx="float32")
    odd = report(tmp_path / "odd", image_data_format="channels_first", floatx="float16")
    assert odd.pop("user") == ["channels_first", "float16"]  # the file was read
    assert usual.pop("user") == ["channels_last", "float32"]
    assert odd == usual
    assert odd["weights"] == odd["computes"] == ["float32"]
