import numpy as np
import pytest

from kgenre.data.poster_resizing import fit, resize_into


def resized(pixels, size):
    out = np.zeros((*size, 3), np.uint8)
    resize_into(out, pixels)
    return out


@pytest.mark.parametrize(
    ("resize", "scale", "window", "inner"),
    [
        ("squash", 2, (0, 0, 113, 75), (64, 64)),
        ("letterbox", 2, (0, 0, 113, 75), (64, 43)),
        ("crop", 2, (19, 0, 75, 75), (64, 64)),
    ],
)
def test_geometry_of_a_poster(resize, scale, window, inner):
    assert fit(450, 300, (64, 64), resize) == (scale, window, inner)


def test_a_line_is_cropped_to_a_pixel():
    assert fit(1000, 1, (48, 192), "crop").window == (499, 0, 1, 1)
    assert fit(1, 1000, (192, 48), "crop").window == (0, 499, 1, 1)


@pytest.mark.parametrize(
    ("before", "size"),
    [(before, (64, 64)) for before in [(111, 75), (64, 64), (40, 90), (1, 1), (2, 128), (127, 3), (90, 40)]]
    + [((90, 75), (61, 67))],
)
def test_resizing_matches_tensorflow(before, size):
    import tensorflow as tf

    pixels = np.random.default_rng(0).integers(0, 256, (*before, 3), np.uint8)
    ours = resized(pixels, size)
    expected = tf.image.resize(pixels, size).numpy()
    # Rounding in two steps takes half a level each; the rest is due to weights in 256ths, and largest for noise.
    np.testing.assert_allclose(ours, expected, atol=1.5)
    assert abs((ours - expected).mean()) < 0.15


@pytest.mark.parametrize("before", [(111, 75), (40, 30), (90, 40)])
@pytest.mark.parametrize("level", [0, 1, 127, 255])
def test_a_uniform_colour_does_not_change(before, level):
    assert (resized(np.full((*before, 3), level, np.uint8), (64, 64)) == level).all()


def test_a_smaller_poster_after_a_larger_one_is_not_affected_by_it():
    pixels = np.random.default_rng(0).integers(0, 256, (70, 60, 3), np.uint8)
    alone = resized(pixels, (48, 48))
    resized(np.full((111, 75, 3), 255, np.uint8), (64, 64))
    np.testing.assert_array_equal(resized(pixels, (48, 48)), alone)


@pytest.mark.parametrize("size", [(600, 600), (600, 30), (30, 600)])
def test_strong_reductions_are_antialiased(size):
    board = (np.indices((*size, 3))[:2].sum(axis=0) % 2 * 255).astype(np.uint8)
    assert np.abs(resized(board, (24, 24)).astype(int) - 127).max() < 40
