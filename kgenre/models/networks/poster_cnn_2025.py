"""The poster CNN of the course's 2025 edition."""

from __future__ import annotations

import keras
from keras import layers

from kgenre.engines import prepare_keras
from kgenre.models.kernel_layers import Conv2D, Dropout, MaxPooling2D
from kgenre.models.residual_block import ResidualBlock

SMALLEST_SIDE = 8  # pixels: three pools of 2 leave one of them


def poster_cnn_2025(
    genres: int = 25,
    image_size: tuple[int, int] = (64, 64),
    dropout: float = 0.2,
    dense_dropout: float = 0.5,
) -> keras.Sequential:
    """Build the course's 2025 poster CNN: a stem, four residual blocks, average pooling, one dense layer.

    658,873 parameters at every ``image_size``. The course states that Block4's output, after three pools of 2,
    is 8x8x128: with the 64x64 posters of its 2024 edition that leaves no room for strides, so the stem and the
    blocks have stride 1. It does not state the stem's activation; here it is a ReLU, as in the 2024 edition.

    The course trains it with Adam 1e-4, binary cross-entropy, augmentation that keeps a poster readable, 50
    epochs.

    Input: float32 (B, H, W, 3), pixels already scaled to [0, 1]. Output: float32 (B, genres), an
    independent probability per genre (sigmoid), float32 under a mixed-precision policy too.

    Args:
        genres: number of genres.
        image_size: height and width of the posters in pixels, each at least 8.
        dropout: rate in the residual blocks.
        dense_dropout: rate after the dense layer.

    Returns:
        A built model, channels last, its weights float32, whatever ``keras.json`` says; the compute dtype
        follows a mixed policy set with ``keras.config.set_dtype_policy`` before the call.

    Raises:
        ValueError: a side of ``image_size`` is too small for the three pools.

    Example:
        >>> poster_cnn_2025().count_params()
        658873
    """
    height, width = image_size
    if min(height, width) < SMALLEST_SIDE:
        raise ValueError(
            f"poster_cnn_2025 halves the posters three times: both sides of image_size must be at least "
            f"{SMALLEST_SIDE} pixels, e.g. (64, 64). Received: image_size=({height}, {width})."
        )
    prepare_keras()

    def block(index: int, filters: int) -> layers.Layer:
        return ResidualBlock(filters, dropout, name=f"Block{index}")

    def pool(index: int) -> layers.Layer:
        return MaxPooling2D(2, name=f"Pool{index}")

    return keras.Sequential(
        [
            keras.Input((height, width, 3), dtype="float32", name="poster"),
            Conv2D(32, 3, padding="same", activation="relu", name="StemConv"),
            block(1, 32),
            pool(1),
            block(2, 64),
            pool(2),
            block(3, 128),
            pool(3),
            block(4, 128),
            layers.GlobalAveragePooling2D(name="GAP"),
            layers.Dense(256, activation="relu", name="Dense1"),
            Dropout(dense_dropout, name="DropDense"),
            # In half precision a sigmoid rounds to exactly 0 or 1, where the cross-entropy is clipped.
            layers.Dense(genres, activation="sigmoid", dtype="float32", name="Output"),
        ],
        name="poster_cnn_2025",
    )
