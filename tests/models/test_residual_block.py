"""The residual block: its arithmetic, its shapes, its configuration."""

import keras
import numpy as np
import pytest
from numpy_weights import numpy_weights

from kgenre.models.residual_block import ResidualBlock


@pytest.fixture(autouse=True)
def weights_at_once():
    with numpy_weights():
        yield


def maps(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def test_is_relu_of_main_plus_skip():
    block = ResidualBlock(4)
    x = maps(2, 6, 6, 3)
    y = keras.ops.convert_to_numpy(block(x, training=False))
    main = block.conv2(block.conv1(x))  # outside training, dropout is the identity
    np.testing.assert_allclose(y, np.maximum(keras.ops.convert_to_numpy(main + block.skip(x)), 0), atol=1e-6)
    assert block.conv1.activation.__name__ == "relu"
    assert block.conv2.activation.__name__ == block.skip.activation.__name__ == "linear"
    assert (y == 0).any()
    assert (y > 0).any()


@pytest.mark.parametrize("strides", [1, 2])
def test_compute_output_shape(strides):
    block, x = ResidualBlock(5, strides=strides), maps(1, 7, 8, 3)
    shape = (1, -(-7 // strides), 8 // strides, 5)
    assert block.compute_output_shape(x.shape) == tuple(block(x).shape) == shape
    assert block.compute_output_shape((None, 7, 8, 3))[0] is None


def test_dropout_acts_in_training_only():
    block = ResidualBlock(4, dropout=0.5)
    x = maps(1, 6, 6, 3)
    run = lambda training: keras.ops.convert_to_numpy(block(x, training=training))  # noqa: E731
    assert (run(False) == run(False)).all()
    assert (run(True) != run(False)).any()
    still = ResidualBlock(4, dropout=0)
    assert (keras.ops.convert_to_numpy(still(x, training=True)) == keras.ops.convert_to_numpy(still(x))).all()


def test_config_round_trip():
    block = ResidualBlock(6, dropout=0.3, strides=2, name="b", dtype="mixed_bfloat16")
    again = ResidualBlock.from_config(block.get_config())
    assert again.get_config() == block.get_config()
    assert (again.filters, again.dropout, again.strides, again.name) == (6, 0.3, 2, "b")
    assert again.conv1.compute_dtype == "bfloat16"
    # Registered: Keras finds the class by its name in a saved model.
    found = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(block))
    assert type(found) is ResidualBlock
    assert found.get_config() == block.get_config()


def test_survives_saving_to_disk(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 3)), ResidualBlock(4, strides=2)])
    model.save(tmp_path / "block.keras")
    again = keras.saving.load_model(tmp_path / "block.keras")
    x = maps(2, 8, 8, 3)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(again(x)), keras.ops.convert_to_numpy(model(x)))
