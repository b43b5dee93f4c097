import keras
import numpy as np
import pytest
from keras import ops

import kgenre
from kgenre.data import FilmData
from kgenre.models import GenreClassifier, genre_classifier
from kgenre.models.mixing import cutmix, mixup

B, H, W, G = 64, 12, 8, 3


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    pixels = np.broadcast_to(rng.random((B, 1, 1, 1)), (B, H, W, 3)).astype("float32")
    return pixels, (rng.random((B, G)) < 0.5).astype("float32")


def numpy(*tensors):
    return [ops.convert_to_numpy(tensor) for tensor in tensors]


def test_mixup_blends_pixels_and_genres_by_one_share_per_film(batch):
    pixels, genres = batch
    mixed, labels = numpy(*mixup(ops.array(pixels), ops.array(genres), 0.4, keras.random.SeedGenerator(1)))
    own, other = pixels[:, 0, 0, 0], pixels[::-1, 0, 0, 0]
    share = (mixed[:, 0, 0, 0] - other) / (own - other)
    assert 0 <= share.min() < 0.1
    assert 0.9 < share.max() <= 1.0001
    np.testing.assert_allclose(
        mixed, share[:, None, None, None] * pixels + (1 - share)[:, None, None, None] * pixels[::-1], atol=1e-4
    )
    np.testing.assert_allclose(labels, share[:, None] * genres + (1 - share)[:, None] * genres[::-1], atol=1e-3)


def test_cutmix_pastes_a_rectangle_and_mixes_genres_by_its_area(batch):
    pixels, genres = batch
    mixed, labels = numpy(*cutmix(ops.array(pixels), ops.array(genres), 1.0, keras.random.SeedGenerator(1)))
    stays = np.isclose(mixed[..., 0], pixels[..., 0])
    np.testing.assert_allclose(mixed[~stays], np.broadcast_to(pixels[::-1], pixels.shape)[~stays])
    share = stays.mean(axis=(1, 2))
    assert 0.3 < share.mean() < 0.95
    for film in range(B):
        rows, columns = (~stays[film]).any(axis=1), (~stays[film]).any(axis=0)
        assert (~stays[film] == rows[:, None] & columns[None]).all()
    np.testing.assert_allclose(labels, share[:, None] * genres + (1 - share)[:, None] * genres[::-1], atol=1e-5)


def small_network(genres, image_size):
    return keras.Sequential(
        [keras.Input((*image_size, 3), name="poster"), keras.layers.Flatten(), keras.layers.Dense(genres, "sigmoid")]
    )


@pytest.mark.one_backend("tensorflow")
def test_a_classifier_trains_on_mixed_batches(sample, in_tmp_path, monkeypatch):
    mixed = []
    for mix in (mixup, cutmix):
        monkeypatch.setattr(
            genre_classifier, mix.__name__, lambda *given, mix=mix: mixed.append(mix.__name__) or mix(*given)
        )
    module = GenreClassifier(small_network, learning_rate=1e-2, mixup=0.2, cutmix=1.0)
    films = FilmData(str(sample), overviews=False, image_size=(8, 8), batch_size=16)
    trainer = kgenre.Trainer(max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.fit(module, datamodule=films)
    assert 0 < trainer.callback_metrics["train/loss"] < 2
    assert set(mixed) == {"mixup", "cutmix"}


def test_mixing_without_posters_is_refused():
    with pytest.raises(kgenre.TrainerError, match="reads posters only"):
        GenreClassifier("overview_words", mixup=0.2).prepare_for(["a"], {"vocabulary_size": 30})
