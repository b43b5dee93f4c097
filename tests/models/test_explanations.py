"""Explanations point at what the network really uses, on every backend."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from numpy_weights import numpy_weights

from kgenre.engines.activation_gradient import activation_gradient
from kgenre.models import GenreClassifier
from kgenre.models.explanations import grad_cam, word_importance


def classifier(network, **arguments):
    module = GenreClassifier(network, arguments)
    with numpy_weights():
        module.prepare_for(["a", "b"], {"image_size": (16, 16), "vocabulary_size": 30})
    return module


def test_gradient_matches_the_analytic_one():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2), layers.Lambda(lambda x: x**2)])
    x = np.array([[1.0, 2.0, 3.0], [0.5, -1.0, 2.0]], "float32")
    output, gradient = activation_gradient(model.layers[0], lambda: ops.sum(model(x)))
    np.testing.assert_allclose(output, ops.convert_to_numpy(model.layers[0](x)), rtol=1e-5)
    np.testing.assert_allclose(gradient, 2 * output, rtol=1e-5)
    assert "call" not in vars(model.layers[0]), "the layer is as it was"


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of tf.function")
def test_explaining_many_films_does_not_warn_of_retracing(caplog):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    for _ in range(6):
        activation_gradient(model.layers[0], lambda: ops.sum(model(np.ones((1, 3), "float32"))))
    assert not caplog.records


def test_grad_cam_finds_the_bright_corner():
    picture = keras.Input((16, 16, 3), name="poster")
    maps = layers.Conv2D(1, 3, padding="same", kernel_initializer="ones", activation="relu")(picture)
    pooled = layers.GlobalAveragePooling2D()(layers.MaxPooling2D(2)(maps))
    output = layers.Dense(2, activation="sigmoid", kernel_initializer=keras.initializers.Constant([[0.5, -0.5]]))(
        pooled
    )
    module = GenreClassifier(keras.Model(picture, output))
    module.configure_model()
    poster = np.zeros((2, 16, 16, 3), "uint8")
    poster[:, 10:14, 2:6] = 255
    heat = grad_cam(module, {"poster": poster}, np.array([0, 1]))
    assert heat.shape == (2, 16, 16)
    assert heat.max() == 1
    assert heat[0, 10:14, 2:6].mean() > 0.6
    assert heat[0, :8].max() == 0
    assert heat[1].max() == 0, "for the other genre it is evidence against"


@pytest.mark.parametrize("network", ["poster_cnn_2024", "poster_cnn_2025"])
def test_the_courses_networks_are_explained(network):
    poster = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype("uint8")
    heat = grad_cam(classifier(network), {"poster": poster}, np.array([0, 1]))
    assert heat.shape == (2, 2, 2)
    assert np.isfinite(heat).all()


@pytest.mark.one_backend("tensorflow")
def test_word_importance_agrees_with_leaving_words_out():
    module = classifier("overview_lstm", embedding_dim=8)
    embedding = next(layer for layer in module.model.layers if isinstance(layer, layers.Embedding))
    # Short vectors, for which the first-order approximation is good; the word that replaces one left out is zeros.
    vectors = 0.02 * np.random.default_rng(0).normal(size=(30, 8)).astype("float32")
    vectors[1] = 0
    embedding.embeddings.assign(vectors)
    for dense in (layer for layer in module.model.layers if isinstance(layer, layers.Dense)):
        # Stay away from ReLU's kink at 0, which short vectors alone do not avoid.
        dense.bias.assign(np.resize([0.3, -0.3], dense.bias.shape))
    overview = np.array([[5, 9, 12, 20, 7, 3, 0, 0]], "int32")
    ours = word_importance(module, {"overview": overview}, np.array([1]))[0]

    texts = np.repeat(overview, 7, axis=0)
    texts[np.arange(6), np.arange(6)] = 1  # one word left out in each row, none in the last
    p = ops.convert_to_numpy(module.probabilities({"overview": texts}))[:, 1].astype(float)
    log_odds = np.log(p / (1 - p))
    true = log_odds[6] - log_odds[:6]
    assert np.corrcoef(ours[:6], true)[0, 1] > 0.99
    assert (ours[6:] == 0).all()


@pytest.mark.one_backend("jax")
def test_fused_network_is_explained_as_a_whole():
    members = [
        {"network": "poster_resnet", "network_args": {"filters": [4, 4]}},
        {"network": "overview_lstm_pooled", "network_args": {"embedding_dim": 8, "units": 4}},
        {"network": "overview_words"},
    ]
    module = classifier("fused", members=members)
    overview = np.array([[5, 9, 12, 20, 7, 3, 0, 0]], "int32")
    batch = {"overview": overview, "poster": np.full((1, 16, 16, 3), 200, "uint8")}
    [linear] = (part for part in module.model._flatten_layers() if part.name == "Words")
    before = word_importance(module, batch, np.array([1]))[0]
    weights = np.zeros((30, 2), "float32")
    weights[9, 1] = 1.0  # a word that is evidence for the genre through the linear path alone
    linear.kernel.embeddings.assign(weights)
    after = word_importance(module, batch, np.array([1]))[0]
    assert after[1] > before[1] + 0.1
    np.testing.assert_allclose(np.delete(after, 1), np.delete(before, 1), atol=1e-5)
    assert grad_cam(module, batch, np.array([1])).shape == (1, 2, 2)


@pytest.mark.parametrize("members", [1, 2])
def test_saturated_predictions_are_explained(members):
    module = classifier("overview_words")
    if members == 2:
        module = classifier("fused", members=[{"network": "overview_words"}] * 2)
    for linear in (part for part in module.model._flatten_layers() if part.name == "Words"):
        weights = np.zeros((30, 2), "float32")
        weights[9] = 100.0, -100.0
        linear.kernel.embeddings.assign(weights)
    batch = {"overview": np.array([[5, 9, 12, 0]] * 2, "int32")}
    before = ops.convert_to_numpy(module.probabilities(batch))
    assert before[0].tolist() == pytest.approx([1, 0], abs=1e-6)
    importance = word_importance(module, batch, np.array([0, 1]))
    assert importance.argmax(axis=1).tolist() == [1, 0]
    assert importance[0, 1] > 50 > 0 > -50 > importance[1, 1]
    assert (ops.convert_to_numpy(module.probabilities(batch)) == before).all(), "the network is as it was"


def test_subwords_count_for_their_word():
    module = classifier("overview_words", subwords=20)
    [linear] = (part for part in module.model.layers if part.name == "Words")
    parts, weights = np.zeros((30, 16), "int32"), np.zeros((20, 2), "float32")
    parts[9, :2], parts[12, :2] = (3, 4), (4, 5)
    weights[3:6, 1] = 1.0, 0.0, -1.0
    linear.parts.assign(parts)
    linear.kernel.embeddings.assign(weights)
    said = word_importance(module, {"overview": np.array([[5, 9, 12, 0]], "int32")}, np.array([1]))[0]
    assert said[1] > 0 > said[2]
    assert not said[[0, 3]].any()


class Positions(layers.Layer):
    def __init__(self):
        super().__init__()
        self.vectors = layers.Embedding(10, 4)

    def call(self, x):
        return x + self.vectors(ops.arange(x.shape[1]))


def test_position_embeddings_count_for_no_word():
    tokens = keras.Input((6,), name="overview")
    words = layers.Embedding(30, 4)
    x = layers.GlobalAveragePooling1D()(Positions()(words(tokens)))
    module = GenreClassifier(keras.Model(tokens, layers.Dense(2, activation="sigmoid")(x)))
    module.prepare_for(["a", "b"], {})
    vectors = np.zeros((30, 4), "float32")
    vectors[9] = 1.0
    words.embeddings.assign(vectors)
    said = word_importance(module, {"overview": np.array([[5, 9, 12, 7, 0, 0]] * 2, "int32")}, np.array([0, 1]))
    assert said[:, 1].all()
    assert not np.delete(said, 1, axis=1).any()


def test_networks_without_suitable_layers_are_refused():
    text = GenreClassifier(keras.Sequential([keras.Input((4,), name="overview"), layers.Dense(2)]))
    text.configure_model()
    with pytest.raises(ValueError, match="no Embedding"):
        word_importance(text, {"overview": np.zeros((1, 4))}, np.array([0]))
    with pytest.raises(ValueError, match="no convolutional layer"):
        grad_cam(text, {"overview": np.zeros((1, 4))}, np.array([0]))
