"""A user's own network: clear errors if it is unusable, and a backbone that is trained later."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import kgenre
from kgenre.callbacks import BackboneFinetuning
from kgenre.data import FilmData
from kgenre.engines.named_variables import named_variables
from kgenre.engines.optimizer_groups import optimizer_groups
from kgenre.models import GenreClassifier
from kgenre.models.build_network import build_network
from kgenre.models.explanations import grad_cam
from kgenre.training import TrainerError

SIZES = {"image_size": (16, 16), "vocabulary_size": 30}


class Subclass(keras.Model):
    def call(self, poster):
        return poster


def poster():
    return keras.Input((16, 16, 3), name="poster")


def from_poster(head):
    """A network with ``head`` on 4 feature maps of a poster."""
    read = poster()
    return keras.Model(read, head(layers.Conv2D(4, 3, strides=4)(read)))


def few_words():
    read = keras.Input((None,), name="overview")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(20, 3)(read))
    return keras.Model(read, layers.Dense(2, activation="sigmoid")(x))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda: None, "returned returns nothing. It must return a model"),
        (lambda: layers.Dense(2), "returned returns a Dense"),
        (Subclass, r"a Subclass without defined inputs.* return keras.Model\(poster, Subclass\(...\)\(poster"),
        (lambda: keras.Sequential([layers.Dense(2)]), "a Sequential without defined inputs"),
        (lambda: from_poster(layers.Conv2D(2, 1)), r"one output \(None, genres\).* Received: \(None, 4, 4, 2\)"),
        (lambda: from_poster(lambda x: {"genres": layers.Flatten()(x)}), "Received: {'genres': '"),
        (few_words, "an Embedding of 20 words, but token ids go up to 29"),
    ],
)
def test_unusable_networks_are_refused(returned, message):
    def build():
        return returned()

    build.__name__ = "returned"
    with pytest.raises(TrainerError, match=message):
        build_network(build, {}, SIZES)


def test_inputs_of_other_names_are_refused():
    year = keras.Input((1,), name="year")
    module = GenreClassifier(keras.Model(year, layers.Dense(2, activation="sigmoid")(year)))
    with pytest.raises(TrainerError, match=r"must be named 'poster' or 'overview'\. Received: year"):
        module.prepare_for(["Drama", "War"], {})


def test_softmax_output_warns(caplog):
    def net(genres):
        return keras.Sequential([poster(), layers.Flatten(), layers.Dense(genres, activation="softmax")])

    GenreClassifier(net).prepare_for(["a", "b"], SIZES)
    assert "net ends in a softmax" in caplog.text


def test_an_error_in_the_function_is_shown_with_its_line():
    def net(genres, image_size):
        return keras.Sequential([poster()]).no_such_thing

    with pytest.raises(
        TrainerError, match=r"net cannot be built: test_users_network.py, line \d+ \(return keras.*Attr"
    ):
        GenreClassifier(net).prepare_for(["a"], SIZES)


def test_arguments_that_a_network_cannot_use_are_named():
    module = GenreClassifier("poster_resnet", {"filters": []})
    with pytest.raises(TrainerError, match=r"poster_resnet cannot be built with filters=\[\]: list index out of range"):
        module.prepare_for(["a"], SIZES)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="other backends compute with such a number")
def test_a_number_that_the_backend_cannot_hold_is_named():
    with pytest.raises(TrainerError, match=r"overview_words cannot be built with scale=10{20}: "):
        build_network("overview_words", {"scale": 10**20}, {"genres": 3, "vocabulary_size": 9})


def loads_weights(genres, file, pretrained=True):
    network = keras.Sequential([poster(), layers.Flatten(), layers.Dense(genres, activation="sigmoid")])
    if pretrained:
        network.load_weights(file)
    return network


def always_loads_weights(genres, file):
    return loads_weights(genres, file)


@pytest.mark.one_backend("tensorflow")
@pytest.mark.parametrize("network", [loads_weights, always_loads_weights])
def test_loading_a_checkpoint_needs_no_pretrained_weights(network, sample, tmp_path):
    file = tmp_path / "own.weights.h5"
    films = FilmData(str(sample), overviews=False, image_size=(16, 16))
    films.setup("fit")
    initial = loads_weights(len(films.genre_names), file, pretrained=False)
    initial.save_weights(file)
    trainer = kgenre.Trainer(
        max_steps=1, default_root_dir=tmp_path, enable_progress_bar=False, enable_model_summary=False
    )
    module = GenreClassifier(network, {"file": str(file)}, learning_rate=1e-6)
    trainer.fit(module, datamodule=films)
    begun = module.model.get_weights()[0]
    np.testing.assert_allclose(begun, initial.get_weights()[0], atol=1e-5)
    file.unlink()
    if network is always_loads_weights:
        with pytest.raises(
            TrainerError, match=r"own.weights.h5.* checkpoint contains all weights. Give .* argument pretrai"
        ):
            GenreClassifier.load_from_checkpoint(trainer.run_dir)
        return
    loaded = GenreClassifier.load_from_checkpoint(trainer.run_dir)
    np.testing.assert_array_equal(loaded.model.get_weights()[0], begun)
    trainer.max_steps = 2
    trainer.fit(GenreClassifier(network, {"file": str(file)}), datamodule=films, ckpt_path="last")


def test_posters_of_another_size_are_refused():
    module = GenreClassifier(from_poster(lambda x: layers.Dense(2, activation="sigmoid")(layers.Flatten()(x))))
    module.prepare_for(["a", "b"], {"image_size": (32, 32)})
    with pytest.raises(TrainerError, match=r"reads posters of shape \(16, 16, 3\), but the data have \(32, 32, 3\)"):
        module.probabilities({"poster": np.zeros((1, 32, 32, 3), "uint8")})


# --- a backbone ---------------------------------------------------------------------------------------------------


def with_backbone(genres, image_size, frozen=False):
    augmentation = keras.Sequential([layers.RandomFlip("horizontal")], name="augmentation")
    maps = [layers.Conv2D(4, 3, strides=4, name="first"), layers.BatchNormalization(), layers.Conv2D(4, 1, name="last")]
    backbone = keras.Sequential([keras.Input((*image_size, 3)), *maps], name="maps")
    backbone.trainable = not frozen
    read = poster()
    x = layers.GlobalMaxPooling2D()(backbone(augmentation(read)))
    return keras.Model(read, layers.Dense(genres, activation="sigmoid", name="head")(x))


def fitted(sample, callback, epochs=2, **arguments):
    """For each epoch, the names of the layers whose kernels changed, and the learning rates."""
    module, changed, before = GenreClassifier(with_backbone, learning_rate=0.01, **arguments), [], {}

    class Compare(kgenre.callbacks.Callback):
        def on_train_epoch_start(self, trainer, module):
            before.update(kernels(module))

        def on_train_epoch_end(self, trainer, module):
            changed.append({name for name, kernel in kernels(module).items() if (kernel != before[name]).any()})
            rates.append(trainer.learning_rates())

    rates = []
    trainer = kgenre.Trainer(
        max_epochs=epochs,
        limit_train_batches=1,
        limit_val_batches=0,
        callbacks=[callback, Compare()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=FilmData(str(sample), overviews=False, image_size=(16, 16)))
    return changed, rates


def kernels(module):
    parts = [part for part in module.model._flatten_layers() if hasattr(part, "kernel")]
    return {f"{number} {part.name}": ops.convert_to_numpy(part.kernel) for number, part in enumerate(parts)}


@pytest.mark.one_backend("tensorflow")
@pytest.mark.parametrize("arguments", [{}, {"members": 2, "schedule": "cosine"}], ids=str)
def test_backbone_given_by_name_is_trained_later(sample, arguments):
    changed, rates = fitted(sample, BackboneFinetuning(1, backbone="maps"), **arguments)
    names = [{name.split()[1] for name in epoch} for epoch in changed]
    assert names == [{"head"}, {"head", "first", "last"}]
    assert len(changed[1]) == 3 * arguments.get("members", 1)
    backbone, rest = rates[1]
    assert backbone < rest / 5 or arguments


def test_missing_or_frozen_backbone_is_refused(sample):
    with pytest.raises(ValueError, match=r"GenreClassifier.map, or one of this name .* The models there: .*'maps'"):
        fitted(sample, BackboneFinetuning(1, backbone="map"))
    with pytest.raises(ValueError, match=r"has no trainable weights: it was frozen before the fit. Leave it trainable"):
        fitted(sample, BackboneFinetuning(1, backbone="maps"), network_args={"frozen": True})


def test_layer_optimizers_by_pattern_and_for_frozen_layers():
    module = GenreClassifier(
        with_backbone, layer_optimizers={"fir.t": {"learning_rate": 0.5}, "maps": {"learning_rate": 0.1}}
    )
    module.prepare_for(["a", "b"], SIZES)
    trainable = {name: v for name, v in named_variables(module).items() if v.trainable}
    groups = optimizer_groups(module.configure_optimizers(), trainable)
    assert [len(group) for group in groups] == [2, 4, 2]
    module.layer_optimizers["fi.*"] = {"learning_rate": 0.3}
    rates = [float(optimizer.learning_rate) for optimizer in module.configure_optimizers().values()]
    assert rates == pytest.approx([0.5, 0.1, 1e-4]), "the first that matches counts"
    for name, message in (
        ("maps", "layer_optimizers: 'maps' is frozen"),
        ("m(", r"'m\(' is not a valid regular expression"),
        ("map", "layers of the network: head. Received: 'map'"),
    ):
        module = GenreClassifier(with_backbone, {"frozen": True}, layer_optimizers={name: {"learning_rate": 0.5}})
        module.prepare_for(["a", "b"], SIZES)
        with pytest.raises(TrainerError, match=message):
            module.configure_optimizers()


def test_grad_cam_uses_the_backbone_and_skips_augmentation():
    def augmented(genres):
        read = poster()
        x = keras.Sequential([layers.RandomFlip("horizontal")])(read)
        x = layers.GlobalMaxPooling2D()(layers.Conv2D(4, 3, strides=2)(x))
        return keras.Model(read, layers.Dense(genres, activation="sigmoid")(x))

    batch = {"poster": np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype("uint8")}
    for network, size in ((with_backbone, 4), (augmented, 7)):
        module = GenreClassifier(network)
        module.prepare_for(["a", "b"], SIZES)
        assert grad_cam(module, batch, np.array([0, 1])).shape == (2, size, size)
