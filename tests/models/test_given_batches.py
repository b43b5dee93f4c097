"""`GenreClassifier` on a user's own batches and datamodules, which provide less than `FilmData`."""

import json

import keras
import numpy as np
import pytest
from keras import layers

import kgenre
from kgenre.data import FilmData
from kgenre.models import GenreClassifier
from kgenre.training import DataModule, TrainerError

BATCH = {
    "poster": np.zeros((4, 8, 8, 3), "uint8"),
    "genres": np.eye(2, dtype="float32")[[0, 1, 0, 1]],
    "index": np.arange(4, dtype="int32"),
    "weight": np.ones(4, "float32"),
}


def network(genres=2, image_size=(8, 8)):
    pixels = keras.Input((*image_size, 3), name="poster")
    return keras.Model(pixels, layers.Dense(genres, activation="sigmoid")(layers.GlobalAveragePooling2D()(pixels)))


def quiet_trainer(folder, **options):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    return kgenre.Trainer(default_root_dir=folder, **quiet | options)


def test_error_batches_with_another_number_of_genres(tmp_path):
    with pytest.raises(TrainerError, match=r"has 3 outputs, but the data have 2 genres\. .* argument genres"):
        quiet_trainer(tmp_path, max_steps=1, logger=False).fit(GenreClassifier(network(3)), [BATCH])


def test_error_more_genres_than_the_built_network_has():
    module = GenreClassifier(network())
    module.prepare_for(["Drama", "War"], {})
    with pytest.raises(TrainerError, match="has 2 outputs, but the data have 3 genres"):
        module.prepare_for(["Drama", "War", "News"], {})


@pytest.mark.parametrize("argument", [{"label_smoothing": 0.1}, {"loss": "weighted_binary_crossentropy"}])
def test_error_frequencies_are_needed_but_batches_have_none(tmp_path, argument):
    with pytest.raises(TrainerError, match="need a datamodule with training_films"):
        quiet_trainer(tmp_path, max_steps=1, logger=False).fit(GenreClassifier(network(), **argument), [BATCH])


class Posters(DataModule):
    """Data with genres and an image size, but no vocabulary; the validation films can be read only once."""

    genre_names, image_size, posters = ("Drama", "War"), (8, 8), BATCH["poster"]

    def train_dataloader(self):
        return [BATCH]

    def val_dataloader(self):
        return Films(passes=2)  # the first is for building the step


class Films:
    def __init__(self, passes):
        self.passes = passes

    def __iter__(self):
        self.passes -= 1
        return iter([BATCH] if self.passes >= 0 else [])


def test_without_a_datamodule_genres_are_numbered(tmp_path):
    trainer, module = quiet_trainer(tmp_path, max_epochs=1), GenreClassifier(network())
    trainer.fit(module, [BATCH], [BATCH])  # writes views to TensorBoard and a checkpoint with thresholds
    assert module.genre_names == ("genre_0", "genre_1")
    known = GenreClassifier.load_from_checkpoint(trainer.run_dir, network=network())
    assert known.thresholds.per_genre == module.thresholds.per_genre
    assert json.loads((trainer.run_dir / "metrics.json").read_text())["val/films"] == 4


def test_films_to_predict_need_posters_only(tmp_path):
    trainer = quiet_trainer(tmp_path, logger=False)
    [predicted] = trainer.predict(GenreClassifier(network()), [{"poster": BATCH["poster"]}])
    assert predicted["probabilities"].shape == (4, 2)


def test_error_films_to_train_on_without_genres_and_weight(tmp_path):
    with pytest.raises(TrainerError, match="The loss needs each film's genres, weight: in the batches"):
        quiet_trainer(tmp_path, logger=False).fit(GenreClassifier(network()), [{"poster": BATCH["poster"]}])


def test_error_films_to_validate_without_index_and_weight(tmp_path):
    batch = {name: BATCH[name] for name in ("poster", "genres")}
    with pytest.raises(TrainerError, match="The metrics need each film's index, weight"):
        quiet_trainer(tmp_path, logger=False).validate(GenreClassifier(network()), [batch])


def test_network_gets_the_sizes_that_the_data_have(tmp_path):
    module = GenreClassifier(network)
    quiet_trainer(tmp_path, max_epochs=1, logger=False).fit(module, datamodule=Posters())
    assert module.genre_names == ("Drama", "War")
    assert module.model.input_shape == (None, 8, 8, 3)


def test_the_image_size_is_a_tuple_from_a_checkpoint_too():
    def of_size(genres, image_size):
        assert isinstance(image_size, tuple), "image_size + (3,) would be an error"
        return network(genres, image_size)

    module, again = GenreClassifier(of_size), GenreClassifier(of_size)
    module.prepare_for(["Drama", "War"], {"image_size": (8, 8), "vocabulary_size": 10})
    module.on_save_checkpoint(state := {})
    again.on_load_checkpoint(json.loads(json.dumps(state)))
    again.configure_model()
    assert again.model.input_shape == (None, 8, 8, 3)


@pytest.mark.parametrize(
    "attributes", [{"table": np.zeros((4, 2))}, {"split": 0.8}, {"table": [1], "split": [0.8, 0.2]}]
)
def test_attributes_of_a_datamodule_may_mean_something_else(attributes, tmp_path):
    data = Posters()
    data.test_dataloader = lambda: [BATCH]
    vars(data).update(attributes)
    trainer, module = quiet_trainer(tmp_path, max_epochs=1), GenreClassifier(network)
    trainer.fit(module, datamodule=data)
    trainer.test(module, datamodule=data, verbose=False)
    assert "test/loss" in trainer.callback_metrics


def test_network_whose_output_is_bfloat16(tmp_path):
    def certain(genres=2, image_size=(8, 8)):
        pixels = keras.Input((*image_size, 3), name="poster")
        head = layers.Dense(genres, activation="sigmoid", bias_initializer=keras.initializers.Constant(20.0))
        return keras.Model(pixels, head(layers.GlobalAveragePooling2D()(pixels)))

    trainer = quiet_trainer(tmp_path, max_epochs=1, logger=False, precision="bf16-mixed")
    module = GenreClassifier(certain)
    trainer.fit(module, [BATCH], [BATCH])
    assert np.isfinite(trainer.callback_metrics["train/loss"])
    assert keras.backend.standardize_dtype(module.probabilities(BATCH).dtype) == "float32"


def test_empty_second_pass_is_refused(tmp_path):
    trainer = quiet_trainer(tmp_path, max_epochs=2, logger=False)
    with pytest.raises(TrainerError, match="The val data yielded no batches when they were read again"):
        trainer.fit(GenreClassifier(network), datamodule=Posters())


def test_training_precision_and_recall_cover_the_epoch(tmp_path):
    rng = np.random.default_rng(0)
    batches = [
        {
            "poster": rng.integers(0, 256, (4, 8, 8, 3)).astype("uint8"),
            "genres": rng.integers(0, 2, (4, 2)).astype("float32"),
            "index": np.arange(4, dtype="int32"),
            "weight": np.array([1, 1, 1, last], "float32"),
        }
        for last in (1, 0, 1)
    ]
    model = network()
    model.layers[-1].set_weights(
        [np.array([[8, -8], [-8, 8], [0, 0]]), np.zeros(2)]
    )  # genre 0 is redder, genre 1 greener
    module, trainer = GenreClassifier(model, learning_rate=1e-12), quiet_trainer(tmp_path, max_epochs=1)
    trainer.fit(module, batches)
    counted = np.concatenate([batch["weight"] for batch in batches]) > 0
    true = np.concatenate([batch["genres"] for batch in batches])[counted]
    said = np.concatenate([keras.ops.convert_to_numpy(module.probabilities(batch)) for batch in batches])[counted]
    predicted = said > 0.5
    assert 0 < predicted.sum() < predicted.size
    right = (predicted * true).sum()
    assert trainer.callback_metrics["train/precision"] == pytest.approx(right / predicted.sum())
    assert trainer.callback_metrics["train/recall"] == pytest.approx(right / true.sum())


def test_reading_partial_results_does_not_change_metrics(tmp_path):
    class Watched(GenreClassifier):
        def on_validation_batch_end(self, *arguments):
            super().on_validation_batch_end(*arguments)
            seen.append(len(self.evaluation.true))

    seen, batches = [], [BATCH | {"genres": np.eye(2, dtype="float32")[[first] * 4]} for first in (0, 1, 0)]
    model = network()
    trainer, watched = quiet_trainer(tmp_path, logger=False), Watched(model)
    [logged] = trainer.validate(watched, batches)
    assert seen == [4, 8, 12]
    [expected] = trainer.validate(GenreClassifier(model), batches)
    assert logged["val/films"] == 12
    assert logged == pytest.approx(expected, nan_ok=True)


def test_a_test_on_batches_of_unknown_films_removes_the_predictions_of_an_earlier_test(sample, tmp_path):
    films, module = FilmData(str(sample), overviews=False, image_size=(8, 8)), GenreClassifier("poster_colours")
    trainer = quiet_trainer(tmp_path, max_epochs=1)
    trainer.fit(module, datamodule=films)
    trainer.test(module, datamodule=films, verbose=False)
    predictions = trainer.run_dir / "predictions_test.csv"
    assert predictions.exists()
    trainer.test(module, dataloaders=films.train_dataloader(), verbose=False)
    assert json.loads((trainer.run_dir / "metrics.json").read_text())["test/films"] == len(films.split.train)
    assert not predictions.exists(), "metrics.json is about other films"
