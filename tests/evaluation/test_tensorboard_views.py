"""What TensorBoard shows besides curves: when it is written, and that gradients are exact."""

import io

import keras
import numpy as np
import pytest
from keras import layers, ops
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

import kgenre
from kgenre.data import FilmData, make_sample_films
from kgenre.evaluation.evaluation import Evaluation
from kgenre.evaluation.film_pictures import co_occurrence_image, panel_image
from kgenre.evaluation.gradient_sample import GradientSample
from kgenre.evaluation.tensorboard_views import TensorBoardViews
from kgenre.models import GenreClassifier


def small_network(genres, image_size):
    picture = keras.Input((*image_size, 3), name="poster")
    x = layers.BatchNormalization(center=False, scale=False)(layers.Conv2D(4, 3, name="Conv")(picture))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(picture, layers.Dense(genres, activation="sigmoid", name="Output")(x))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    films = make_sample_films(tmp_path_factory.mktemp("films") / "films", n=60)
    return FilmData(films, overviews=False, image_size=(16, 16), batch_size=16)


def trainer_with(views, folder, **options):
    return kgenre.Trainer(
        callbacks=[views],
        default_root_dir=str(folder),
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def events_of(trainer):
    events = EventAccumulator(str(trainer.run_dir), size_guidance={"tensors": 0})
    events.Reload()
    return events


class Pictured(kgenre.loggers.Logger):
    """A second logger that accepts images and texts."""

    def __init__(self):
        super().__init__()
        self.pictures, self.texts = [], []

    def log_image(self, name, image, step):
        self.pictures.append((name, step))

    def log_text(self, name, text, step):
        self.texts.append((name, step))


def test_the_first_and_the_last_validation_are_shown(data, tmp_path):
    pictured = Pictured()
    trainer = trainer_with(
        TensorBoardViews(times=1, gradients=True),
        tmp_path,
        max_epochs=3,
        logger=[kgenre.loggers.TensorBoardLogger(), pictured],
    )
    module = GenreClassifier(small_network)
    trainer.fit(module, datamodule=data)
    events = events_of(trainer)
    first, last = trainer.global_step // 3, trainer.global_step
    assert [event.step for event in events.Tensors("films/posters")] == [first, last]
    assert pictured.pictures == [(name, step) for step in (first, last) for name in ("co-occurrence", "films/posters")]
    assert pictured.texts == [("films/overviews", first), ("films/overviews", last)]
    gradients = [tag for tag in events.Tags()["tensors"] if tag.startswith("gradients/")]
    assert sorted(tag.rpartition("/")[0].rpartition("/")[2] for tag in gradients) == [
        "Conv",
        "Conv",
        "Output",
        "Output",
    ]
    kernel = next(tag for tag in gradients if tag.endswith("Output/kernel"))
    assert make_ndarray(events.Tensors(kernel)[0].tensor_proto)[:, 2].sum() == 4 * len(data.genre_names)
    trainer.test(module, datamodule=data, verbose=False)
    assert "test/ap_micro" in trainer.callback_metrics
    shown = EventAccumulator(str(trainer.run_dir / "test"), size_guidance={"tensors": 0})
    shown.Reload()
    assert "map" in shown.Tags()["tensors"]
    assert "ap_micro" not in shown.Tags()["tensors"], "a chart with one point"


class Linear(kgenre.Module):
    """A module whose loss is the sum of weight times input: the gradient is the input."""

    def __init__(self, wide):
        self.dense = layers.Dense(1, use_bias=False)
        self.wide = wide

    def training_step(self, batch, batch_idx):
        return ops.sum(self.dense(batch["x"]))

    def configure_optimizers(self):
        return keras.optimizers.SGD(0.1)


class Scored(Linear):
    """A module with a ``model`` and an ``evaluation``, but without genre names and thresholds."""

    def __init__(self):
        self.model = keras.Sequential([keras.Input((2,)), layers.Dense(1, use_bias=False)])
        self.dense = self.model

    def validation_step(self, batch, batch_idx):
        return None

    def on_validation_epoch_end(self):
        self.evaluation = Evaluation(np.eye(2) > 0, np.full((2, 2), 0.5), np.arange(2))


def test_other_modules_get_the_views_they_have_data_for(tmp_path):
    trainer = trainer_with(TensorBoardViews(), tmp_path, max_epochs=1)
    batches = [{"x": np.ones((2, 2), "float32")}]
    trainer.fit(Scored(), batches, batches)
    tags = events_of(trainer).Tags()["tensors"]
    assert {"all genres", "probabilities"} <= {tag.rpartition("/")[2] for tag in tags}
    assert "co-occurrence" not in tags


def test_the_mean_of_gradients_is_shown_if_the_optimizer_keeps_it(tmp_path):
    """SGD's momentum is no mean of gradients, but a step against them."""
    batches, shown = [{"x": np.ones((2, 2), "float32")}], []  # a gradient of 2
    for optimizer in (keras.optimizers.SGD(0.1, momentum=0.9), keras.optimizers.Adam(0.1, beta_1=0.75)):
        module = Scored()
        module.configure_optimizers = lambda optimizer=optimizer: optimizer
        trainer = trainer_with(TensorBoardViews(), tmp_path, max_epochs=1)
        trainer.fit(module, batches, batches)
        events = events_of(trainer)
        tags = [tag for tag in events.Tags()["tensors"] if tag.startswith("gradients/")]
        shown.append([make_ndarray(events.Tensors(tag)[0].tensor_proto) for tag in tags])
    of_sgd, [of_adam] = shown
    assert of_sgd == []
    low, high = of_adam[0, 0], of_adam[-1, 1]
    assert low <= 0.25 * 2 <= high
    assert high - low < 1e-3


def test_networks_with_the_same_layers_are_told_apart(data, tmp_path):
    trainer = trainer_with(TensorBoardViews(gradients=True), tmp_path, max_epochs=1)
    module = GenreClassifier(small_network, members=2)
    trainer.fit(module, datamodule=data)
    events = events_of(trainer)
    tags = {tag for tag in events.Tags()["tensors"] if tag.endswith(("Output/kernel", "Output/kernel (2)"))}
    assert tags == {f"{kind}/Output/kernel{end}" for kind in ("weights", "gradients") for end in ("", " (2)")}
    first, second = (
        make_ndarray(events.Tensors(f"weights/Output/kernel{end}")[0].tensor_proto) for end in ("", " (2)")
    )
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("options", "validations", "shown"),
    [
        ({"max_epochs": 12}, 12, [1, 4, 7, 10, 12]),
        ({"max_epochs": 12, "check_val_every_n_epoch": 3}, 4, [1, 2, 3, 4]),
        ({"max_epochs": 4, "val_check_interval": 1}, 12, [1, 4, 7, 10, 12]),
        ({"max_epochs": 99, "max_steps": 36}, 12, [1, 4, 7, 10, 12]),
    ],
)
def test_views_are_spread_over_the_validations_of_a_fit(options, validations, shown, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(TensorBoardViews, "_write", lambda views, *others: written.append(others[-1]))
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = kgenre.Trainer(**options, **quiet, logger=False, callbacks=[TensorBoardViews(times=4)])
    batches = [{"x": np.ones((2, 2), "float32")}] * 3
    for _ in range(2):  # a second fit writes its own
        trainer.fit(Scored(), batches, batches)
        assert [step * validations // trainer.global_step for step in written] == shown
        written.clear()


def test_films_without_any_genre_have_views(data, tmp_path):
    class Nothing(Scored):
        genre_names = ("War", "Drama")

        def on_validation_epoch_end(self):
            self.evaluation = Evaluation(np.zeros((2, 2), bool), np.full((2, 2), 0.5), np.arange(2))

    trainer = kgenre.Trainer(
        max_epochs=1, callbacks=[TensorBoardViews()], default_root_dir=str(tmp_path), enable_progress_bar=False
    )
    batches = [{"x": np.ones((2, 2), "float32")}]
    trainer.fit(Nothing(), batches, batches)
    tags = {tag.rpartition("/")[2] for tag in events_of(trainer).Tags()["tensors"]}
    assert "probabilities" in tags
    assert "co-occurrence" not in tags


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"times": 0}, "times and films must be at least 1"),
        ({"films": 0}, "times and films must be at least 1"),
        ({"films": None}, r"TensorBoardViews\(films=...\) takes a whole number. Received: None"),
    ],
)
def test_wrong_counts_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        TensorBoardViews(**wrong)


@pytest.mark.parametrize("before", [False, True])
def test_a_resumed_run_may_begin_or_cease_to_show_gradients(before, data, tmp_path):
    def fit(epochs, gradients, ckpt_path=None):
        trainer = trainer_with(TensorBoardViews(gradients=gradients), tmp_path, max_epochs=epochs)
        trainer.fit(GenreClassifier(small_network), datamodule=data, ckpt_path=ckpt_path)
        return trainer

    fit(1, before)
    resumed = fit(2, not before, "last")
    histograms = [tag for tag in events_of(resumed).Tags()["tensors"] if tag.startswith("gradients/")]
    assert resumed.current_epoch == 2
    assert histograms, "of the gradients, or of Adam's mean"


@pytest.mark.parametrize("wide", [7, 10_000])
def test_gradients_are_those_of_the_last_step(wide, tmp_path):
    class Sampling(kgenre.callbacks.Callback):
        step_part = GradientSample()

    x = np.arange(2 * wide, dtype="float32").reshape(2, 1, wide)
    trainer = kgenre.Trainer(
        max_epochs=1, callbacks=[Sampling()], logger=False, enable_progress_bar=False, enable_checkpointing=False
    )
    trainer.fit(Linear(wide), [{"x": row} for row in x])
    (sample,) = (trainer.engine.get_variable(variable) for variable in Sampling.step_part.samples.values())
    np.testing.assert_array_equal(sample, x[1, 0, :: max(wide // 4096, 1)][:4096])


def pixels(image):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))


def test_co_occurrence_shows_shares_of_the_films_of_a_genre():
    true = np.array([[1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 1]], bool)  # no film of the second genre
    predicted = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1]], bool)
    picture = pixels(co_occurrence_image(true, predicted, ("War", "Drama", "Crime")))
    shares = np.array([[0.25, 0.75], [0.0, 1.0]])
    corners = picture[152:-10:24, 152:-10:24]
    np.testing.assert_allclose(corners, 255 - shares[..., None] * [247, 207, 148], atol=1)


class OneFilm(list):
    poster_paths = (None,)


NONE, WAR, DRAMA = np.zeros((1, 2), bool), np.array([[True, False]]), np.array([[False, True]])


def panel(true, predicted):
    return pixels(panel_image(OneFilm([0]), true, predicted, ("War", "Drama")))


def test_panel_of_a_film_without_genres():
    pictures = [panel(*shown) for shown in ((NONE, WAR), (WAR, WAR), (WAR, NONE))]
    assert len({picture.shape for picture in pictures}) == 1, "a line for it"
    below = [picture[207:222] for picture in pictures[:2]]
    assert (below[0] < 255).any()
    assert not np.array_equal(*below)


def test_right_genres_are_green_and_wrong_ones_red():
    red, green = (0xC0, 0, 0), (0, 0x80, 0x2B)
    shown = [set(map(tuple, panel(WAR, predicted).reshape(-1, 3).tolist())) for predicted in (WAR, DRAMA)]
    assert [(green in colours, red in colours) for colours in shown] == [(True, False), (False, True)]


@pytest.mark.filterwarnings("error::DeprecationWarning")  # for users who set PYTHONWARNINGS=error
@pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras's own, under torch
def test_projector_holds_the_vectors_of_words_and_genres(tmp_path):
    def network(genres, vocabulary_size):
        tokens = keras.Input((None,), name="overview")
        x = layers.GlobalAveragePooling1D()(layers.Embedding(vocabulary_size, 3, name="Words")(tokens))
        return keras.Model(tokens, layers.Dense(genres, activation="sigmoid", name="Genres")(x))

    films = make_sample_films(tmp_path / "films", n=60)
    data, module = FilmData(films, posters=False, batch_size=16), GenreClassifier(network)
    trainer = kgenre.Trainer(max_epochs=1, enable_progress_bar=False, default_root_dir=tmp_path)
    trainer.fit(module, datamodule=data)
    words, genres = (np.loadtxt(trainer.run_dir / f"projector_{name}.tsv") for name in ("words", "genres"))
    expected = [trainer.engine.get_variable(module.model.get_layer(name).weights[0]) for name in ("Words", "Genres")]
    np.testing.assert_allclose(words, expected[0][2:][: len(words)], rtol=1e-3)
    np.testing.assert_allclose(genres, expected[1].T, rtol=1e-3)
