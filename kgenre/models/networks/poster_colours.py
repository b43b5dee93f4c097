"""A poster's colours and layout as a network: the baseline for poster networks, and a useful member next to them."""

from __future__ import annotations

import keras
from keras import layers

from kgenre.engines import prepare_keras
from kgenre.models.colours_and_layout import ColoursAndLayout
from kgenre.models.genre_head import GenreHead


def poster_colours(genres: int = 25, image_size: tuple[int, int] = (96, 64), penalty: float = 3e-3) -> keras.Model:
    """Build a logistic regression on the features of `ColoursAndLayout`.

    Input: float32 (B, H, W, 3), pixels in [0, 1], named "poster". Output: float32 (B, genres), an independent
    probability per genre (sigmoid).

    Args:
        genres: number of genres.
        image_size: height and width of the posters in pixels.
        penalty: factor of the sum of squared weights that is added to the loss. It corresponds to scikit-learn's
            ``C = 1 / (2 penalty n g)`` with n training films and g genres.

    Returns:
        A built model, channels last.

    Example:
        >>> module = GenreClassifier("poster_colours", learning_rate=2e-3, schedule="cosine")
    """
    prepare_keras()
    pixels = keras.Input((*image_size, 3), dtype="float32", name="poster")
    colours = ColoursAndLayout(name="Colours")(pixels)
    head = GenreHead(genres, scale=0.01, kernel_regularizer=keras.regularizers.L2(penalty), name="ColoursHead")
    output = layers.Activation("sigmoid", dtype="float32", name="Output")(head(colours))
    return keras.Model(pixels, output, name="poster_colours")
