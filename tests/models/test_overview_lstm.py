"""The overview LSTM against the course's totals, and what its mask promises."""

import keras
import numpy as np
import pytest

from kgenre.models import overview_lstm

COURSE = [  # name, class, output without the batch, parameters with embeddings of 256 and of 265
    ("Embedding", "Embedding", (None, "dim"), 2_560_000, 2_650_000),
    ("BiLSTM1", "Bidirectional", (None, 512), 1_050_624, 1_069_056),
    ("BiLSTM2", "Bidirectional", (256,), 656_384, 656_384),
    ("Dense1", "Dense", (128,), 32_896, 32_896),
    ("DropDense", "Dropout", (128,), 0, 0),
    ("Output", "Dense", (25,), 3_225, 3_225),
]


@pytest.fixture(scope="module", params=[256, 265])
def model(request):
    return overview_lstm(embedding_dim=request.param)


@pytest.fixture(scope="module")
def untrained():
    return overview_lstm(embedding_dim=16)  # the width of the words makes no difference to masks


@pytest.fixture(scope="module")
def tokens():
    """Three films of 12, 5 and 1 words, padded on the right to 12."""
    ids = np.random.default_rng(0).integers(1, 10_000, (3, 12)).astype("int32")
    ids[1, 5:] = 0
    ids[2, 1:] = 0
    return ids


def predict(model, ids):
    return keras.ops.convert_to_numpy(model(ids, training=False))


@pytest.mark.parametrize(("index", "row"), list(enumerate(COURSE)), ids=[row[0] for row in COURSE])
def test_layer_is_the_courses(model, index, row):
    name, kind, shape, *counts = row
    dim = model.get_layer("Embedding").output_dim
    layer = model.layers[index]
    assert (layer.name, type(layer).__name__) == (name, kind)
    assert layer.output.shape[1:] == tuple(dim if size == "dim" else size for size in shape)
    assert layer.count_params() == counts[[256, 265].index(dim)]


def test_whole_is_the_courses(model):
    assert len(model.layers) == len(COURSE)
    assert model.count_params() == {256: 4_303_129, 265: 4_411_561}[model.get_layer("Embedding").output_dim]
    for name in ("BiLSTM1", "BiLSTM2"):
        wrapper = model.get_layer(name)
        for lstm in (wrapper.forward_layer, wrapper.backward_layer):
            assert (lstm.dropout, lstm.recurrent_dropout) == (0.5, 0.2)
    assert model.get_layer("DropDense").rate == 0.8


def test_output_is_a_float32_probability_per_genre(untrained, tokens):
    probabilities = predict(untrained, tokens)
    assert probabilities.shape == (3, 25)
    assert probabilities.dtype == np.float32
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert (probabilities.sum(1) > 5).all()


def test_padding_on_the_right_changes_no_prediction(untrained, tokens):
    padded = np.pad(tokens, ((0, 0), (0, 9)))
    np.testing.assert_allclose(predict(untrained, padded), predict(untrained, tokens), atol=1e-5)
    # It is the mask that does it: the unknown word in the same places is read.
    unknown = np.where(padded == 0, 1, padded)
    assert np.abs(predict(untrained, unknown) - predict(untrained, tokens)).max() > 1e-5


def test_an_overview_without_words_is_predicted_for(untrained):
    empty = predict(untrained, np.zeros((2, 6), "int32"))
    assert np.isfinite(empty).all()
    np.testing.assert_array_equal(empty[0], empty[1])


def test_arguments_reach_the_layers():
    model = overview_lstm(7, 50, 8, dropout=0.1, recurrent_dropout=0.0, dense_dropout=0.3)
    assert model.output_shape == (None, 7)
    assert model.get_layer("Embedding").get_weights()[0].shape == (50, 8)
    backward = model.get_layer("BiLSTM2").backward_layer
    assert (backward.dropout, backward.recurrent_dropout) == (0.1, 0.0)
    assert model.get_layer("DropDense").rate == 0.3


def test_too_small_a_vocabulary_is_named():
    assert overview_lstm(vocabulary_size=3).get_layer("Embedding").input_dim == 3
    with pytest.raises(ValueError, match=r"at least 3.*Received: vocabulary_size=2"):
        overview_lstm(vocabulary_size=2)


def test_mixed_precision_reaches_both_directions():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = overview_lstm(vocabulary_size=50)
    finally:
        keras.config.set_dtype_policy(before)
    wrapper = model.get_layer("BiLSTM1")
    assert wrapper.forward_layer.compute_dtype == wrapper.backward_layer.compute_dtype == "bfloat16"
    assert {weight.dtype for weight in model.trainable_variables} == {"float32"}
    assert model.outputs[0].dtype == "float32"
