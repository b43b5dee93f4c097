"""The poster CNN of the course's 2024 edition."""

from __future__ import annotations

import keras
from keras import layers

from kgenre.engines import prepare_keras
from kgenre.models.kernel_layers import Conv2D, Dropout, MaxPooling2D

SMALLEST_SIDE = 15  # pixels: Conv0 halves it to ceil(15 / 2) = 8, of which three pools of 2 leave one


def poster_cnn_2024(
    genres: int = 25,
    image_size: tuple[int, int] = (64, 64),
    dropout: float = 0.2,
    dense_dropout: float = 0.5,
) -> keras.Sequential:
    """Build the course's 2024 poster CNN: seven 3x3 convolutions, three pools, two wide dense layers.

    With the defaults: 3,464,601 parameters, of which 3.1 million are in the dense layers. Only ``Conv0`` has
    stride 2. The course trains it with Adam 1e-4, binary cross-entropy, batch 64, 40 epochs.

    Input: float32 (B, H, W, 3), pixels already scaled to [0, 1]. Output: float32 (B, genres), an
    independent probability per genre (sigmoid), float32 under a mixed-precision policy too.

    Args:
        genres: number of genres.
        image_size: height and width of the posters in pixels, each at least 15.
        dropout: rate after the convolutions.
        dense_dropout: rate after the dense layers.

    Returns:
        A built model, channels last, its weights float32, whatever ``keras.json`` says; the compute dtype
        follows a mixed policy set with ``keras.config.set_dtype_policy`` before the call.

    Raises:
        ValueError: a side of ``image_size`` is too small for the four halvings.

    Example:
        >>> poster_cnn_2024().count_params()
        3464601
    """
    height, width = image_size
    if min(height, width) < SMALLEST_SIDE:
        raise ValueError(
            f"poster_cnn_2024 halves the posters four times: both sides of image_size must be at least "
            f"{SMALLEST_SIDE} pixels, e.g. (64, 64). Received: image_size=({height}, {width})."
        )
    prepare_keras()

    def conv(index: int, filters: int, strides: int = 1) -> layers.Layer:
        return Conv2D(filters, 3, strides, padding="same", activation="relu", name=f"Conv{index}")

    def pool(index: int) -> layers.Layer:
        return MaxPooling2D(2, name=f"Pool{index}")

    def drop(index: int, rate: float) -> layers.Layer:
        return Dropout(rate, name=f"Drop{index}")

    return keras.Sequential(
        [
            keras.Input((height, width, 3), dtype="float32", name="poster"),
            conv(0, 16, strides=2),
            drop(1, dropout),
            conv(1, 32),
            conv(2, 32),
            drop(2, dropout),
            pool(1),
            conv(3, 64),
            conv(4, 64),
            drop(3, dropout),
            pool(2),
            conv(5, 128),
            conv(6, 128),
            drop(4, dropout),
            pool(3),
            layers.Flatten(name="Flat"),
            layers.Dense(1024, activation="relu", name="FC1"),
            drop(5, dense_dropout),
            layers.Dense(1024, activation="relu", name="FC2"),
            drop(6, dense_dropout),
            # In half precision a sigmoid rounds to exactly 0 or 1, where the cross-entropy is clipped.
            layers.Dense(genres, activation="sigmoid", dtype="float32", name="Output"),
        ],
        name="poster_cnn_2024",
    )
