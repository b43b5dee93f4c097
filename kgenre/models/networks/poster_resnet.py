"""kgenre's own poster network: a small residual network with batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from kgenre.engines import prepare_keras
from kgenre.models.genre_head import GenreHead
from kgenre.models.kernel_layers import BatchNormalization, Conv2D


def poster_resnet(
    genres: int = 25,
    image_size: tuple[int, int] = (96, 64),
    filters: Sequence[int] = (16, 32, 64, 96),
    dropout: float = 0.2,
) -> keras.Model:
    """Build a residual network small enough for a few thousand posters (0.2 million parameters).

    A strided convolution, then one residual block per entry of ``filters``, each halving the picture: two 3x3
    convolutions with batch normalisation, added to average pooling and a 1x1 convolution, as in He et al. (2019), "Bag
    of Tricks for Image Classification" (https://arxiv.org/abs/1812.01187, ResNet-D); global average pooling; one dense
    layer, whose bias starts at the log-odds of the genres' frequencies.

    Input: float32 (B, H, W, 3), pixels in [0, 1], named "poster". Output: float32 (B, genres), an independent
    probability per genre (sigmoid).

    Args:
        genres: number of genres.
        image_size: height and width of the posters in pixels.
        filters: channels of the blocks; the stem has as many as the first block.
        dropout: rate before the last layer.

    Returns:
        A built model, channels last.

    Example:
        >>> module = GenreClassifier("poster_resnet", learning_rate=2e-3)
    """
    prepare_keras()
    pixels = keras.Input((*image_size, 3), dtype="float32", name="poster")
    features = layers.Dropout(dropout, name="DropHead")(poster_features(pixels, filters))
    logits = GenreHead(genres, scale=0.1, name="Head")(features)
    output = layers.Activation("sigmoid", dtype="float32", name="Output")(logits)
    return keras.Model(pixels, output, name="poster_resnet")


def poster_features(pixels: keras.KerasTensor, filters: Sequence[int]) -> keras.KerasTensor:
    """Map pixels (B, H, W, 3) in [0, 1] to the poster's features, (B, filters[-1])."""
    # Roughly the mean and spread of posters: batch normalisation does the rest.
    x = layers.Rescaling(4.0, offset=-2.0, name="Standardise")(pixels)
    x = _convolution(x, filters[0], 3, 2, "Stem")
    x = layers.ReLU(name="StemReLU")(x)
    for index, channels in enumerate(filters, start=1):
        main = layers.ReLU(name=f"Block{index}ReLU1")(_convolution(x, channels, 3, 2, f"Block{index}Conv1"))
        main = _convolution(main, channels, 3, 1, f"Block{index}Conv2")
        skip = layers.AveragePooling2D(2, padding="same", data_format="channels_last", name=f"Block{index}Pool")(x)
        skip = _convolution(skip, channels, 1, 1, f"Block{index}Skip")
        x = layers.ReLU(name=f"Block{index}ReLU2")(layers.Add(name=f"Block{index}Add")([main, skip]))
    return layers.GlobalAveragePooling2D(data_format="channels_last", name="PosterMean")(x)


def _convolution(x: keras.KerasTensor, channels: int, size: int, strides: int, name: str) -> keras.KerasTensor:
    x = Conv2D(
        channels, size, strides, padding="same", use_bias=False, kernel_initializer="he_normal",
        data_format="channels_last", name=name,
    )(x)  # fmt: skip
    return BatchNormalization(axis=-1, momentum=0.9, name=f"{name}BN")(x)
