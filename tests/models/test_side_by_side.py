"""Networks side by side: each learns as if it were alone, and together they give the mean of their log-odds."""

import keras
import numpy as np
import pytest

import kgenre
from kgenre.data import FilmData
from kgenre.models import GenreClassifier, overview_lstm_words
from kgenre.models.side_by_side import each_member
from kgenre.training import TrainerError

SMALL = {"embedding_dim": 4, "units": 3, "subwords": 20}
TOKENS = np.array([[2, 3, 2, 0, 0], [4, 5, 0, 0, 0], [0, 0, 0, 0, 0]], "int32")
numpy = keras.ops.convert_to_numpy


def log_odds(prob):
    prob = numpy(prob).astype(float)
    return np.log(prob) - np.log1p(-prob)


def trained(module, sample, folder, steps=3):
    kgenre.seed_everything(0)
    films = FilmData(str(sample), posters=False, vocabulary_size=100, batch_size=16)
    kgenre.Trainer(
        max_steps=steps, default_root_dir=folder, logger=False, enable_progress_bar=False, enable_model_summary=False
    ).fit(module, datamodule=films)
    return module


def layers(module, name):
    return [part for part in module.model._flatten_layers() if part.name == name]


def test_each_member_learns_as_if_it_were_alone(sample, tmp_path):
    settings = {"network_args": {"word_dropout": 0.0}, "optimizer": "sgd", "learning_rate": 0.5}
    alone = trained(GenreClassifier("overview_words", **settings), sample, tmp_path)
    both = trained(GenreClassifier("overview_words", members=2, **settings), sample, tmp_path)
    [expected] = [numpy(part.kernel.embeddings) for part in layers(alone, "Words")]
    found = [numpy(part.kernel.embeddings) for part in layers(both, "Words")]
    assert len(found) == 2
    assert np.abs(expected).max() > 1e-3
    for kernel in found:
        np.testing.assert_allclose(kernel, expected, rtol=1e-4, atol=1e-6)
    batch = {"overview": TOKENS}
    said, expected = (numpy(module.probabilities(batch))[:2] for module in (both, alone))
    np.testing.assert_allclose(said, expected, rtol=1e-4)


def test_together_they_give_the_mean_of_their_log_odds():
    module = GenreClassifier("overview_lstm_words", SMALL, members=2)
    module.prepare_for(["a", "b", "c"], {"vocabulary_size": 12})
    rng = np.random.default_rng(0)
    for part in layers(module, "Words"):
        part.kernel.embeddings.assign(rng.normal(size=part.kernel.embeddings.shape).astype("float32"))
        if hasattr(part, "parts"):
            part.parts.assign(rng.integers(0, 9, part.parts.shape))
    members = [log_odds(prob) for prob in each_member(module.model, {"overview": TOKENS}, training=False)]
    assert len(members) == 6
    assert not np.allclose(members[0], members[3], atol=1e-3), "they start from other weights"
    ours = log_odds(module.probabilities({"overview": TOKENS}))
    np.testing.assert_allclose(
        ours[:2], np.average(members, axis=0, weights=[2, 1, 1, 2, 1, 1])[:2], rtol=1e-3, atol=1e-4
    )
    [prior] = {tuple(numpy(part.prior)) for part in layers(module, "Fusion")}
    np.testing.assert_allclose(ours[2], prior, atol=1e-5, err_msg="without a word: the frequencies")


def test_a_layer_with_an_optimizer_of_its_own(sample, tmp_path):
    words = {"optimizer": "sgd", "learning_rate": 0.5, "weight_decay": 0.0}
    module = GenreClassifier(
        "overview_lstm_words", SMALL, learning_rate=1e-9, weight_decay=0.1, layer_optimizers={"Words": words}
    )
    trained(module, sample, tmp_path, steps=2)
    (linear, parts), [head] = layers(module, "Words"), layers(module, "Head")
    share = 1 / (1 + np.exp(-numpy(head.bias)))
    np.testing.assert_allclose(1 / (1 + np.exp(-numpy(layers(module, "Fusion")[0].prior))), share, rtol=1e-5)
    for moved in (linear, parts):
        assert np.abs(numpy(moved.bias) - numpy(head.bias)).max() > 1e-3, "the words have moved, the LSTM has not"
    assert [type(optimizer).__name__ for optimizer in module.trainer.optimizers] == ["SGD", "Adam"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"members": 0}, "members must be 1 or more. Received: 0"),
        ({"layer_optimizers": {"Words": {"rate": 1}}}, "a layer takes optimizer .adam or sgd.*Received for Words"),
        ({"layer_optimizers": {"Words": {"optimizer": "lion"}}}, "Received for Words: .*lion"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(TrainerError, match=message):
        GenreClassifier("overview_lstm_words", **arguments)


def test_a_built_model_has_no_members():
    module = GenreClassifier(overview_lstm_words(3, 12, **SMALL), members=2)
    with pytest.raises(TrainerError, match="a name or a function"):
        module.configure_model()


def test_a_layer_that_is_not_there():
    module = GenreClassifier("overview_words", layer_optimizers={"Word": {"learning_rate": 1.0}})
    module.prepare_for(["a"], {"vocabulary_size": 5})
    with pytest.raises(TrainerError, match=r"has the layers .*Words.*Received: 'Word'"):
        module.configure_optimizers()
