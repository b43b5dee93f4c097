"""kgenre's own networks: what their layers compute, that they learn the sample films, and wrong arguments."""

import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops
from numpy_weights import numpy_weights

import kgenre
from kgenre.data import FilmData, FilmDataError
from kgenre.evaluation.poster_statistics import poster_features
from kgenre.models import (
    GenreClassifier,
    overview_lstm_words,
    overview_words,
    poster_overview_fusion,
)
from kgenre.models.evidence_sum import EvidenceSum
from kgenre.models.frequent_words import FrequentWords
from kgenre.models.genre_head import GenreHead
from kgenre.models.linear_subwords import LinearSubwords, parts_of
from kgenre.models.linear_words import LinearWords
from kgenre.models.log_odds import prior_log_odds
from kgenre.models.masked_pooling import MaskedPooling
from kgenre.models.named_network import network_function
from kgenre.models.optimizers import cosine_rate
from kgenre.models.word_dropout import WordDropout
from kgenre.models.word_vectors import WordVectors, genre_evidence, ppmi_vectors
from kgenre.training import TrainerError

TOKENS = np.array([[2, 3, 2, 0, 0], [4, 0, 0, 0, 0], [0, 0, 0, 0, 0]], "int32")
numpy = keras.ops.convert_to_numpy


def small(network):
    sizes = {"genres": 3, "vocabulary_size": 12}
    if network is not overview_words:
        sizes |= {"embedding_dim": 4, "units": 3}
    if network is poster_overview_fusion:
        sizes |= {"image_size": (16, 16), "filters": (4, 8)}
    with numpy_weights():
        return network(**sizes)


def quiet_trainer(folder, **limits):
    return kgenre.Trainer(default_root_dir=folder, enable_progress_bar=False, enable_model_summary=False, **limits)


def predicted(module, *batches):
    """Probabilities of batches of one shape, compiled under JAX: eagerly it would take four times as long."""
    if keras.backend.backend() != "jax":
        return [numpy(module.probabilities(batch)) for batch in batches]
    trainer = quiet_trainer(".", logger=False, enable_checkpointing=False)
    return [batch["probabilities"] for batch in trainer.predict(module, dataloaders=list(batches))]


def test_pooling_ignores_masked_positions():
    x = np.random.default_rng(0).normal(size=(3, 5, 2)).astype("float32") - 3
    mask = TOKENS > 0
    for how, of in (("max", np.max), ("mean", np.mean), ("scaled_sum", lambda a, axis: a.sum(axis) / len(a) ** 0.5)):
        pooled = numpy(MaskedPooling(how)(x, mask=mask))
        for row, length in ((0, 3), (1, 1)):
            np.testing.assert_allclose(pooled[row], of(x[row, :length], axis=0), rtol=1e-5)
        assert not pooled[2].any(), "nothing to pool"
    with pytest.raises(ValueError, match="needs a mask"):
        MaskedPooling("max")(x)
    with pytest.raises(ValueError, match="Received: how='sum'"):
        MaskedPooling("sum")


def test_word_dropout_makes_words_unknown_in_training_only():
    tokens = np.repeat([[5, 0]], 4000, axis=0).astype("int32")
    layer = WordDropout(0.25, seed=1)
    assert (numpy(layer(tokens, training=False)) == tokens).all()
    dropped = numpy(layer(tokens, training=True))
    assert not dropped[:, 1].any(), "padding stays"
    assert set(dropped[:, 0]) == {1, 5}
    assert np.mean(dropped[:, 0] == 1) == pytest.approx(0.25, abs=0.03)


def test_linear_words_match_scikit_learns_tfidf():
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["b c b", "d", "b d d d e", "c e"]
    vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\S+").fit(texts)
    names = ["", "?", *vectorizer.get_feature_names_out()]
    tokens = np.zeros((4, 6), "int32")
    for row, text in enumerate(texts):
        tokens[row, : len(text.split())] = [names.index(word) for word in text.split()]
    layer = LinearWords(2, len(names), scale=3.0)
    layer.build(tokens.shape)
    layer.adapt_to_films({"overview": tokens, "genres": np.array([[1, 0], [1, 1], [0, 0], [1, 0]])})
    bias = numpy(layer(tokens))
    assert (bias == bias[0]).all()
    assert bias[0, 0] > 0 > bias[0, 1], "it starts at the frequencies"
    kernel = np.random.default_rng(0).normal(size=(len(names), 2)).astype("float32")
    layer.kernel.embeddings.assign(kernel)
    expected = 3.0 * (vectorizer.transform(texts) @ kernel[2:]) + bias
    np.testing.assert_allclose(numpy(layer(tokens)), expected, rtol=1e-5)
    assert np.isfinite(numpy(layer(TOKENS[2:]))).all()


def test_linear_subwords_match_scikit_learns_character_ngrams():
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["sea seas", "seaside undersea", "a seaman at sea", "hospital"]
    names = ["", "[UNK]", *sorted({word for text in texts[:3] for word in text.split()})]
    tokens = np.zeros((4, 4), "int32")
    for row, text in enumerate(texts):
        ids = [names.index(word) if word in names else 1 for word in text.split()]
        tokens[row, : len(ids)] = ids
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 5), min_df=2, sublinear_tf=True).fit(texts)
    layer = LinearSubwords(2, 15, subwords=30, per_word=10, min_df=2, scale=3.0)
    layer.build(tokens.shape)
    genres = np.array([[1, 0], [1, 1], [0, 0], [1, 0]])
    layer.adapt_to_films({"overview": tokens, "genres": genres, "vocabulary": np.array(names)})
    known = vectorizer.get_feature_names_out()
    films_with = dict(zip(known, (vectorizer.transform(texts) > 0).sum(axis=0).A1, strict=True))
    by_films = sorted(known, key=lambda part: (-films_with[part], part))
    kernel = np.random.default_rng(0).normal(size=(30, 2)).astype("float32")
    layer.kernel.embeddings.assign(kernel)
    order = [by_films.index(part) + 1 for part in known]
    bias = numpy(layer(np.zeros((1, 4), "int32")))
    expected = 3.0 * (vectorizer.transform(texts) @ kernel[order]) + bias
    np.testing.assert_allclose(numpy(layer(tokens)), expected, rtol=1e-4)
    assert set(numpy(layer.parts)[[0, 1, 14]].ravel()) == {0}, "padding, the unknown word and no word have no parts"
    few = LinearSubwords(2, 15, subwords=3, min_df=2)
    few.build(tokens.shape)
    few.adapt_to_films({"overview": tokens, "genres": genres, "vocabulary": np.array(names)})
    assert numpy(few.parts).max() == 2, "1 and 2: 0 means none"


def test_single_characters_of_unspaced_scripts_are_subwords():
    assert (list(parts_of("战")), list(parts_of("a"))) == ([" 战 "], [])
    layer = LinearSubwords(1, 4, subwords=5, min_df=2)
    layer.build(None)
    names, tokens = np.array(["", "[UNK]", "战", "a"]), np.array([[2, 3], [2, 3], [3, 0]], "int32")
    layer.adapt_to_films({"overview": tokens, "genres": np.array([[1], [1], [0]]), "vocabulary": names})
    assert numpy(layer.parts)[:, 0].tolist() == [0, 0, 1, 0]


def test_rare_words_become_unknown():
    layer = FrequentWords(7, min_df=2)
    layer.build(None)
    tokens = np.array([[2, 3, 0], [2, 4, 1], [3, 3, 0], [5, 0, 0]], "int32")
    assert numpy(layer(tokens)).tolist() == tokens.tolist()
    layer.adapt_to_films({"overview": tokens})
    assert numpy(layer(tokens)).tolist() == [[2, 3, 0], [2, 1, 1], [3, 3, 0], [1, 0, 0]]


def test_word_vectors_reflect_which_words_occur_together():
    rng = np.random.default_rng(0)
    sea, sky = np.arange(2, 12), np.arange(12, 22)
    texts = np.array([rng.choice(sea if i % 2 else sky, 8) for i in range(200)], "int32")
    vectors = ppmi_vectors(texts, vocabulary_size=25, dim=4)
    assert vectors.shape == (25, 4)
    assert not vectors[[0, 1, 22, 23, 24]].any(), "without company"
    unit = vectors[2:22] / np.linalg.norm(vectors[2:22], axis=1, keepdims=True)
    alike = unit @ unit.T
    assert alike[:10, :10].mean() > alike[:10, 10:].mean() + 0.3
    assert vectors[:, :4].std() == pytest.approx(0.3, rel=1e-3)
    assert ppmi_vectors(np.zeros((3, 4), "int32"), 5, 2).tolist() == np.zeros((5, 2)).tolist()
    assert (ppmi_vectors(texts, 25, 40)[:, 24:] == 0).all(), "fewer words than columns"


def test_word_vectors_reflect_the_genres_of_their_films():
    texts, genres = np.array([[2, 3], [2, 2], [4, 0]], "int32"), np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]], "float32")
    evidence = genre_evidence(texts, genres, vocabulary_size=6, strength=1.0)
    share = np.array([2 / 3, 1 / 3])
    np.testing.assert_allclose(evidence[2, :2], np.log((np.array([2, 1]) + share) / 3 / share), rtol=1e-5)
    np.testing.assert_allclose(evidence[4, :2], np.log(1 / 2), rtol=1e-5)
    assert not evidence[[0, 1, 5]].any()
    assert not evidence[:, 2].any(), "no film has the genre"
    layer = WordVectors(6, 6, genres=3)
    layer.build(None)
    layer.adapt_to_films({"overview": texts, "genres": genres})
    expected = np.hstack([ppmi_vectors(texts, 6, 3), genre_evidence(texts, genres, 6)])
    np.testing.assert_array_equal(numpy(layer.embeddings), expected)
    with pytest.raises(ValueError, match=r"below output_dim=2\. Received: genres=2"):
        WordVectors(6, 2, genres=2)


def test_head_starts_at_the_frequencies():
    head = GenreHead(2, kernel_initializer="zeros")
    head.build((None, 3))
    head.adapt_to_films({"genres": np.array([[1, 0], [1, 0], [0, 0]], "float32")})
    np.testing.assert_allclose(numpy(ops.sigmoid(head(np.ones((1, 3))))), [[0.625, 0.125]], rtol=1e-5)


def test_evidence_of_missing_sources_does_not_count():
    layer = EvidenceSum(rate=0.5, seed=0)
    evidence = [np.full((3, 2), 1.0, "float32"), np.full((3, 2), 10.0, "float32")]
    pictures = np.zeros((3, 2, 2, 3), "float32")
    pictures[1:, 0, 0, 0] = 0.1
    read = [np.array([[3, 0], [3, 0], [0, 0]], "int32"), pictures]
    assert numpy(layer(evidence, read))[:, 0].tolist() == [1, 11, 10]
    many = [np.repeat(part, 1000, axis=0) for part in evidence], [np.repeat(part, 1000, axis=0) for part in read]
    trained = numpy(layer(*many, training=True))[:, 0]
    assert set(trained[:1000]) == {1.0}, "its only source stays"
    assert set(trained[2000:]) == {10.0}
    shares = [np.mean(trained[1000:2000] == value) for value in (1, 10, 11)]
    assert shares == pytest.approx([0.25, 0.25, 0.5], abs=0.06)


@pytest.mark.parametrize("network", [overview_lstm_words, overview_words, poster_overview_fusion])
def test_more_padding_changes_nothing(network):
    model = small(network)
    inputs = {"overview": TOKENS, "poster": np.random.default_rng(0).random((3, 16, 16, 3)).astype("float32")}
    inputs = {tensor.name: inputs[tensor.name] for tensor in model.inputs}
    padded = inputs | {"overview": np.pad(TOKENS, ((0, 0), (0, 4)))}
    one = len(inputs) == 1
    prob, same = (model.predict_on_batch(read["overview"] if one else read) for read in (inputs, padded))
    np.testing.assert_allclose(same, prob, rtol=1e-4, atol=1e-6)
    assert prob.shape == (3, 3)


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        ("poster_resnet", 226_345),
        ("poster_colours", 10_555),
        ("poster_resnet_colours", 237_000),
        ("overview_words", 260_025),
        ("overview_lstm_pooled", 2_365_666),
        ("overview_lstm_words", 2_795_791),
        ("poster_overview_fusion", 2_591_986),
    ],
)
def test_parameters_of_the_networks(network, parameters):
    with numpy_weights():
        assert network_function(network)().count_params() == parameters


@pytest.mark.parametrize(
    ("network", "settings", "data"),
    [
        pytest.param(
            "overview_lstm_words",
            {
                "layer_optimizers": {"Words": {"optimizer": "sgd", "learning_rate": 0.5}},
                "learning_rate": 1e-2,
                "label_smoothing": 0.1,
            },
            {"posters": False, "stem": "english"},
            marks=pytest.mark.one_backend("jax"),
        ),
        pytest.param(
            "poster_resnet_colours",
            {"learning_rate": 5e-3, "mirror": True},
            {"overviews": False},
            marks=pytest.mark.one_backend("tensorflow"),
        ),
        pytest.param(
            "poster_overview_fusion",
            {"learning_rate": 5e-3},
            {"incomplete": "keep"},
            marks=pytest.mark.one_backend("jax"),
        ),
    ],
)
def test_networks_learn_the_sample_films(network, settings, data, sample, tmp_path):
    kgenre.seed_everything(0)
    small = {"embedding_dim": 16, "units": 8} if "lstm" in network or "fusion" in network else {}
    small |= {"filters": (8,)} if "poster" in network else {}
    films = FilmData(str(sample), image_size=(24, 16), batch_size=16, vocabulary_size=300, **data)
    module = GenreClassifier(network, small, weight_decay=0.01, schedule="cosine", warmup=0.2, **settings)
    trainer = quiet_trainer(tmp_path, max_epochs=6, logger=False)
    trainer.fit(module, datamodule=films)
    frequencies = trainer.callback_metrics["val/baseline_frequency/loss"]
    assert trainer.callback_metrics["val/loss"] < frequencies
    assert trainer.optimizers[0].learning_rate < 1e-6

    batch = next(iter(films.val_dataloader().epoch_batches(0)))
    loaded = GenreClassifier.load_from_checkpoint(trainer.save_checkpoint(tmp_path / "last"))
    flipped = batch | ({"poster": np.asarray(batch["poster"])[:, :, ::-1]} if "poster" in batch else {})
    ours, of_flipped = predicted(module, batch, flipped)
    np.testing.assert_allclose(predicted(loaded, batch)[0], ours, rtol=1e-3, atol=1e-4)
    if network == "poster_resnet_colours":
        np.testing.assert_allclose(ours, of_flipped, rtol=1e-4, atol=1e-5)
        module.mirror = False
        plain, of_flipped = predicted(module, batch, flipped)
        assert not np.allclose(plain, of_flipped, atol=1e-4)
        [colours] = [part for part in module.model._flatten_layers() if part.name == "Colours"]
        known = poster_features(films.training_films(posters=1000)["poster"])
        np.testing.assert_allclose(numpy(colours.mean), known.mean(axis=0), atol=1e-5)


@pytest.mark.parametrize(("steps", "warmup"), [(0, 0.0), (0, 0.15), (1, 0.9), (10, 0.99)])
def test_a_cosine_over_any_number_of_steps(steps, warmup):
    rate = cosine_rate(0.5, warmup, SimpleNamespace(estimated_stepping_batches=steps))
    assert max(float(rate(step)) for step in range(steps + 1)) == pytest.approx(0.5)
    assert float(rate(max(steps, 1))) == pytest.approx(0, abs=1e-6)


def test_network_is_initialized_from_the_films(sample, tmp_path):
    films = FilmData(str(sample), posters=False, vocabulary_size=300)
    module = GenreClassifier("overview_lstm_pooled", {"embedding_dim": 8, "units": 4}, learning_rate=1e-9)
    quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0, logger=False).fit(module, datamodule=films)
    known = films.training_films()
    expected = np.hstack(
        [ppmi_vectors(known["overview"], 300, 8), genre_evidence(known["overview"], known["genres"], 300)]
    )
    np.testing.assert_allclose(numpy(module.model.get_layer("WordVectors").embeddings), expected, atol=1e-6)
    share = (known["genres"].sum(axis=0) + 0.5) / (len(known["genres"]) + 1)
    bias = numpy(module.model.get_layer("Head").bias)
    np.testing.assert_allclose(bias, np.log(share / (1 - share)), rtol=1e-4)


def test_a_resumed_network_is_not_initialized_from_the_films(sample, tmp_path, monkeypatch):
    def fit(**options):
        kgenre.seed_everything(0)
        films = FilmData(str(sample), posters=False, vocabulary_size=300)
        trainer = quiet_trainer(tmp_path, limit_val_batches=0, logger=False, **options)
        module = GenreClassifier("overview_lstm_pooled", {"embedding_dim": 8, "units": 4})
        trainer.fit(module, datamodule=films, ckpt_path=tmp_path / "half" if (tmp_path / "half").exists() else None)
        return trainer, [numpy(weight) for weight in module.model.weights]

    _, expected = fit(max_steps=2)
    fit(max_steps=1)[0].save_checkpoint(tmp_path / "half")
    monkeypatch.setattr("kgenre.models.word_vectors.ppmi_vectors", lambda *_: pytest.fail("computed again"))
    for weight, uninterrupted in zip(fit(max_steps=2)[1], expected, strict=True):
        np.testing.assert_array_equal(weight, uninterrupted)


def test_a_network_is_initialized_after_a_resume_that_was_refused(sample, tmp_path):
    films, module = FilmData(str(sample), posters=False), GenreClassifier("overview_words", learning_rate=1e-9)
    trainer = quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0, logger=False)
    trainer.fit(GenreClassifier("overview_words"), datamodule=films)
    trainer.save_checkpoint(tmp_path / "last")
    rows = "\n".join(f"x{i},{'Drama' if i % 2 else 'Comedy'},A film about number {i}" for i in range(20))
    (tmp_path / "films.csv").write_text(f"id,genres,overview\n{rows}\n")
    with pytest.raises(FilmDataError, match="cannot be resumed with them"):
        trainer.fit(module, datamodule=FilmData(str(tmp_path)), ckpt_path=tmp_path / "last")
    trainer.fit(module, datamodule=films)
    genres = films.training_films()["genres"]
    np.testing.assert_allclose(numpy(module.model.get_layer("Words").bias), prior_log_odds(genres), atol=1e-6)


@pytest.mark.parametrize("loss", ["weighted_binary_crossentropy", "focal", "asymmetric"])
def test_losses(loss):
    from kgenre.models.genre_losses import LOSSES

    genres, prob = np.array([[1.0, 0.0, 0.0]], "float32"), np.array([[0.3, 0.6, 0.02]], "float32")
    frequencies = np.array([0.2, 0.5, 0.1], "float32")
    ce = [-math.log(0.3), -math.log(0.4), -math.log(0.98)]
    expected = {
        "weighted_binary_crossentropy": [2 * ce[0], ce[1], ce[2]],
        "focal": [0.49 * ce[0], 0.36 * ce[1], 0.0004 * ce[2]],
        "asymmetric": [ce[0], -(0.55**4) * math.log(0.45), 0.0],
    }[loss]
    tensors = [keras.ops.convert_to_tensor(array) for array in (genres, prob, frequencies)]
    np.testing.assert_allclose(numpy(LOSSES[loss](*tensors))[0], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"loss": "hinge"}, "loss must be one of binary_crossentropy, .* Received: 'hinge'"),
        ({"schedule": "linear"}, "schedule must be one of constant, cosine. Received: 'linear'"),
        ({"label_smoothing": 1.5}, "label_smoothing must be at least 0 and below 1. Received: 1.5"),
        ({"warmup": -1}, "warmup must be"),
        ({"learning_rate": 0.0}, "learning_rate must be finite and above 0. Received: 0.0"),
        ({"learning_rate": math.nan}, "learning_rate must be finite and above 0. Received: nan"),
        ({"learning_rate": math.inf}, "Received: inf"),
        ({"mixup": -0.1}, "mixup must be finite and at least 0. Received: -0.1"),
        ({"cutmix": math.nan}, "cutmix must be finite and at least 0. Received: nan"),
        ({"weight_decay": "0.1"}, "weight_decay must be at least 0 and below 1. Received: '0.1'"),
    ],
)
def test_wrong_arguments(argument, message):
    with pytest.raises(TrainerError, match=message):
        GenreClassifier("poster_resnet", **argument)
