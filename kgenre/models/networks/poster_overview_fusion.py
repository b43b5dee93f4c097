"""One network that reads poster and overview, and also works with either alone."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from kgenre.engines import prepare_keras
from kgenre.models.evidence_sum import EvidenceSum
from kgenre.models.genre_head import GenreHead
from kgenre.models.networks.overview_lstm_pooled import overview_features
from kgenre.models.networks.poster_resnet import poster_features


def poster_overview_fusion(
    genres: int = 25,
    image_size: tuple[int, int] = (96, 64),
    vocabulary_size: int = 10_000,
    embedding_dim: int = 200,
    units: int = 48,
    word_dropout: float = 0.2,
    embedding_dropout: float = 0.3,
    overview_dropout: float = 0.5,
    filters: Sequence[int] = (16, 32, 64, 96),
    poster_dropout: float = 0.2,
    modality_dropout: float = 0.3,
) -> keras.Model:
    """Build the towers of `overview_lstm_pooled` and `poster_resnet`, joined by a sum of log-odds.

    Each tower adds its evidence to the genres' prior log-odds. A film without overview (all padding) or without poster
    (all black) is predicted from the other; modality dropout trains the network for that.

    Inputs: "overview", int32 (B, T) token ids, and "poster", float32 (B, H, W, 3) pixels in [0, 1]. Output: float32 (B,
    genres), an independent probability per genre (sigmoid).

    Args:
        genres: number of genres.
        image_size: height and width of the posters in pixels.
        vocabulary_size: number of token ids, padding and the unknown word included.
        embedding_dim: length of a word's vector, not counting an extra column for each genre.
        units: LSTM units in each direction.
        word_dropout: share of words replaced by the unknown word in a training step.
        embedding_dropout: rate on whole channels of the word vectors.
        overview_dropout: rate before the overview tower's last layer.
        filters: channels of the poster tower's blocks; the stem has as many as the first block.
        poster_dropout: rate before the poster tower's last layer.
        modality_dropout: share of films that lose poster or overview in a training step.

    Returns:
        A built model, channels last.

    Example:
        >>> module = GenreClassifier("poster_overview_fusion", learning_rate=2e-3)
    """
    prepare_keras()
    tokens = keras.Input((None,), dtype="int32", name="overview")
    pixels = keras.Input((*image_size, 3), dtype="float32", name="poster")
    text = overview_features(tokens, genres, vocabulary_size, embedding_dim, units, word_dropout, embedding_dropout)
    picture = poster_features(pixels, filters)
    evidence = [
        GenreHead(genres, use_bias=False, name="HeadOverview")(
            layers.Dropout(overview_dropout, name="DropHeadOverview")(text)
        ),
        GenreHead(genres, scale=0.1, use_bias=False, name="HeadPoster")(
            layers.Dropout(poster_dropout, name="DropHeadPoster")(picture)
        ),
    ]
    logits = EvidenceSum(modality_dropout, dtype="float32", name="Evidence")(evidence, [tokens, pixels])
    output = layers.Activation("sigmoid", dtype="float32", name="Output")(logits)
    return keras.Model([tokens, pixels], output, name="poster_overview_fusion")
