"""kgenre's best poster network: the residual network, and colours and layout, as two members of one network."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from kgenre.engines import prepare_keras
from kgenre.models.networks.poster_colours import poster_colours
from kgenre.models.networks.poster_resnet import poster_resnet
from kgenre.models.side_by_side import side_by_side


def poster_resnet_colours(
    genres: int = 25,
    image_size: tuple[int, int] = (96, 64),
    filters: Sequence[int] = (16, 32, 64, 96),
    dropout: float = 0.2,
    penalty: float = 3e-3,
) -> keras.Model:
    """Build `poster_resnet` and `poster_colours` side by side: the mean of their log-odds.

    Each learns from its own loss. From a few thousand posters, a convolutional network learns only part of what colours
    and rough layout reveal; the two make different mistakes.

    Input: float32 (B, H, W, 3), pixels in [0, 1], named "poster". Output: float32 (B, genres), an independent
    probability per genre; for a black poster, the genres' frequencies.

    Args:
        genres: number of genres.
        image_size: height and width of the posters in pixels.
        filters: channels of the residual network's blocks; the stem has as many as the first block.
        dropout: rate before the residual network's last layer.
        penalty: see `poster_colours`.

    Returns:
        A built model, channels last.

    Example:
        >>> module = GenreClassifier("poster_resnet_colours", learning_rate=2e-3)
    """
    prepare_keras()
    members = [poster_resnet(genres, image_size, filters, dropout), poster_colours(genres, image_size, penalty)]
    return side_by_side(members, "poster_resnet_colours")
