"""Networks side by side: each learns as if it were alone, and together they give the mean of their log-odds."""

import keras
import numpy as np
import pytest

import kgenre
from kgenre.data import FilmData
from kgenre.engines.named_variables import named_variables
from kgenre.engines.optimizer_groups import optimizer_groups
from kgenre.models import GenreClassifier, overview_lstm_words
from kgenre.models.build_network import build_network
from kgenre.models.explanations import grad_cam
from kgenre.models.fused_log_odds import FusedLogOdds
from kgenre.models.side_by_side import each_member, side_by_side
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


@pytest.mark.one_backend("tensorflow")
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


def test_a_network_of_its_own_that_ends_in_a_fusion_of_layers_is_one_member():
    poster = keras.Input((8, 8, 3), name="poster")
    first, last = (keras.layers.Conv2D(2, 3, name=name) for name in ("First", "Last"))
    maps = last(first(poster))
    outputs = [keras.layers.Dense(2, activation="sigmoid")(keras.layers.Flatten()(x)) for x in (maps, poster)]
    model = keras.Model(poster, FusedLogOdds()(outputs, [poster, poster]))
    read = {"poster": np.ones((3, 8, 8, 3), "float32")}
    [output] = each_member(model, read, training=False)
    np.testing.assert_array_equal(numpy(output), numpy(model(read["poster"])))
    module = GenreClassifier(model)
    module.prepare_for(["a", "b"], {})
    assert grad_cam(module, {"poster": np.ones((3, 8, 8, 3), "uint8")}, np.zeros(3, int)).shape == (3, 4, 4)


def test_dropout_acts_in_training_only():
    words = keras.Input((8,), name="overview")
    model, read = keras.Model(words, keras.layers.Dropout(0.5)(words)), {"overview": np.ones((4, 8), "float32")}
    [calm], [noisy] = (each_member(model, read, training=training) for training in (False, True))
    assert (numpy(calm) == 1).all()
    assert (numpy(noisy) == 0).any()


def reads_both():
    overview, poster = keras.Input((None,), name="overview"), keras.Input((4, 4, 3), name="poster")
    words = keras.layers.Lambda(lambda x: keras.ops.mean(x, axis=1, keepdims=True), output_shape=(1,))(overview)
    seen = keras.layers.Concatenate()([words, keras.layers.GlobalAveragePooling2D()(poster)])
    return keras.Model([overview, poster], keras.layers.Dense(2, activation="sigmoid")(seen))


def test_member_that_reads_both_inputs_needs_only_one():
    networks = [reads_both(), reads_both()]
    whole = side_by_side(networks, "both")
    overview, poster = np.zeros((3, 5), "float32"), np.zeros((3, 4, 4, 3), "float32")
    overview[0], poster[1] = 0.7, 0.9
    said = [log_odds(network([overview, poster])) for network in (whole, *networks)]
    np.testing.assert_allclose(said[0], np.mean(said[1:], axis=0), atol=1e-5)
    assert np.abs(said[0][:2]).min() > 1e-3
    np.testing.assert_allclose(said[0][2], 0, atol=1e-6)


@pytest.mark.one_backend("tensorflow")
def test_together_they_predict_the_mean_of_their_log_odds():
    module = GenreClassifier("overview_lstm_words", SMALL, members=2)
    module.prepare_for(["a", "b", "c"], {"vocabulary_size": 12})
    rng = np.random.default_rng(0)
    for part in layers(module, "Words"):
        part.kernel.embeddings.assign(rng.normal(size=part.kernel.embeddings.shape).astype("float32"))
        part.parts.assign(rng.integers(0, 9, part.parts.shape))
    for part in layers(module, "Fusion"):
        part.prior.assign([0.3, -1.0, 2.0])
    members = [log_odds(prob) for prob in each_member(module.model, {"overview": TOKENS}, training=False)]
    assert len(members) == 4
    assert not np.allclose(members[0], members[2], atol=1e-3), "they start from other weights"
    ours = log_odds(module.probabilities({"overview": TOKENS}))
    np.testing.assert_allclose(ours[:2], np.mean(members, axis=0)[:2], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(ours[2], [0.3, -1.0, 2.0], atol=1e-4, err_msg="without a word: the frequencies")


def test_a_layer_with_an_optimizer_of_its_own():
    bag = {"optimizer": "sgd", "learning_rate": 0.5, "weight_decay": 0.0}
    arguments = {"learning_rate": 1e-3, "weight_decay": 0.1, "layer_optimizers": {"Words": bag}}
    module = GenreClassifier("overview_lstm_words", SMALL, members=2, **arguments)
    module.prepare_for(["a", "b", "c"], {"vocabulary_size": 12})
    optimizers = module.configure_optimizers()
    trainable = {name: v for name, v in named_variables(module).items() if v.trainable}
    of_bags, rest = optimizer_groups(optimizers, trainable)
    sgd, adam = optimizers.values()
    assert (type(sgd).__name__, type(adam).__name__) == ("SGD", "Adam")
    assert (float(sgd.learning_rate), sgd.weight_decay, adam.weight_decay) == (0.5, None, 0.1)
    assert {id(v) for v in of_bags.values()} == {id(v) for w in layers(module, "Words") for v in w.trainable_variables}
    assert len(of_bags) == 4, "kernel and bias of either bag"
    assert len(rest) == len(trainable) - 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"members": 0}, "members must be from 1 to 1000. Received: 0"),
        ({"layer_optimizers": {"Words": {"rate": 1}}}, "Words takes an optimizer .adam or sgd.*Received: .*rate"),
        ({"layer_optimizers": {"Words": {"optimizer": "lion"}}}, "Words takes .*lion"),
        ({"layer_optimizers": {"Words": {"learning_rate": "fast"}}}, "learning_rate above 0.*fast"),
        ({"layer_optimizers": {"Words": 0.5}}, "Words takes .*Received: 0.5"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(TrainerError, match=message):
        GenreClassifier("overview_lstm_words", **arguments)


def test_a_fusion_of_no_networks_is_refused():
    with pytest.raises(ValueError, match="fused needs networks"):
        build_network("fused", {}, {"genres": 2})


def test_members_of_a_built_model_are_refused():
    with pytest.raises(TrainerError, match="a name or a function"):
        GenreClassifier(overview_lstm_words(3, 12, **SMALL), members=2)


@pytest.mark.parametrize("name", ["Word", "overview"])  # the second has no weights
def test_optimizer_of_an_unknown_layer_is_refused(name):
    module = GenreClassifier("overview_words", layer_optimizers={name: {"learning_rate": 1.0}})
    module.prepare_for(["a"], {"vocabulary_size": 5})
    with pytest.raises(TrainerError, match=rf"layers of the network: .*Words.*Received: '{name}'"):
        module.configure_optimizers()
