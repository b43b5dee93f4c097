"""The colours and layout of a poster as a layer and as a network."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from kgenre.evaluation.poster_statistics import poster_features
from kgenre.models import poster_colours
from kgenre.models.colours_and_layout import ColoursAndLayout

numpy = keras.ops.convert_to_numpy


def posters(height, width):
    """Noise, flat colours, and drawings whose edges lie exactly between two of the histogram's directions."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (2, height, width, 3))
    flat = np.broadcast_to([[64, 128, 191]], noise.shape)
    y, x = np.mgrid[:height, :width]
    drawn = np.stack([(y // 3 + x // 3) % 2 * 200, (y + x) * 2, 255 - np.maximum(y, x)], -1)
    return np.concatenate([noise, flat, drawn[None], drawn[None, :, ::-1]]).clip(0, 255).astype(np.uint8)


def counted(films, layer=None):
    model = keras.Sequential([keras.Input(films.shape[1:]), layer or ColoursAndLayout()])
    return model.predict_on_batch(films.astype("float32") / 255)


@pytest.mark.parametrize("size", [(21, 13), (5, 3), (1, 1)])
def test_layer_matches_the_baseline(size):
    films = posters(*size)
    np.testing.assert_allclose(counted(films), poster_features(films), atol=1e-5)


def test_layer_matches_the_baseline_on_real_posters():
    folder = os.environ.get("KGENRE_FILMS")
    if not folder:
        pytest.skip("KGENRE_FILMS is not set: it names the folder that holds films/posters")
    files = sorted((Path(folder) / "films" / "posters").glob("*.jpg"))[:24]
    batch = np.stack([np.asarray(Image.open(file).convert("RGB").resize((64, 96))) for file in files])
    np.testing.assert_allclose(counted(batch), poster_features(batch), atol=1e-5)


def test_features_are_standardized_by_the_training_posters():
    films = posters(21, 13)
    layer = ColoursAndLayout()
    layer.build((None, 21, 13, 3))
    layer.adapt_to_films({"poster": films})
    features = poster_features(films)
    expected = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 0.02)
    scaled = counted(films, layer)
    np.testing.assert_allclose(scaled, expected, atol=1e-3)
    assert np.abs(scaled).max() < 50, "what none of the posters varies in is not divided by 0"
    other = ColoursAndLayout()
    other.build((None, 21, 13, 3))
    other.adapt_to_films({})
    assert (numpy(other.deviation) == 1).all(), "no posters to adapt to"


def test_penalty_is_the_sum_of_squared_weights():
    model = poster_colours(genres=2, image_size=(8, 8), penalty=0.5)
    kernel = model.get_layer("ColoursHead").kernel
    kernel.assign(np.full(kernel.shape, 0.1))
    assert float(sum(model.losses)) == pytest.approx(0.5 * 0.01 * np.prod(kernel.shape), rel=1e-5)
