"""kgenre's own overview network: a small LSTM, pooled, next to the sum of its word vectors."""

from __future__ import annotations

import keras
from keras import layers

from kgenre.engines import prepare_keras
from kgenre.models.bidirectional import Bidirectional
from kgenre.models.frequent_words import FrequentWords
from kgenre.models.genre_head import GenreHead
from kgenre.models.masked_pooling import MaskedPooling
from kgenre.models.word_dropout import WordDropout
from kgenre.models.word_vectors import WordVectors


def overview_lstm_pooled(
    genres: int = 25,
    vocabulary_size: int = 10_000,
    embedding_dim: int = 200,
    units: int = 48,
    word_dropout: float = 0.2,
    embedding_dropout: float = 0.3,
    dropout: float = 0.5,
    min_df: int = 1,
) -> keras.Model:
    """Build a network that learns from few overviews what a bag of words cannot.

    Word vectors initialised from the training overviews (`WordVectors`), one bidirectional LSTM, its masked maximum and
    mean over the words, and next to these the sum of the word vectors: the last layer sees the bag of words as well,
    and the LSTM learns the rest. The last layer's bias starts at the log-odds of the genres' frequencies.

    Input: int32 (B, T) token ids of any T, 0 padding, 1 the unknown word, named "overview". More padding on the right
    changes no prediction. Output: float32 (B, genres), an independent probability per genre (sigmoid).

    Args:
        genres: number of genres.
        vocabulary_size: number of token ids, padding and the unknown word included.
        embedding_dim: length of a word's vector, not counting an extra column for each genre.
        units: LSTM units in each direction.
        word_dropout: share of words replaced by the unknown word in a training step.
        embedding_dropout: rate on whole channels of the word vectors.
        dropout: rate before the last layer.
        min_df: words in fewer training films than this are replaced by the unknown word.

    Returns:
        A built model.

    Example:
        >>> module = GenreClassifier("overview_lstm_pooled", learning_rate=3e-3)
    """
    prepare_keras()
    tokens = keras.Input((None,), dtype="int32", name="overview")
    words = FrequentWords(vocabulary_size, min_df, name="FrequentWords")(tokens) if min_df > 1 else tokens
    logits = GenreHead(genres, name="Head")(
        layers.Dropout(dropout, name="DropHead")(
            overview_features(words, genres, vocabulary_size, embedding_dim, units, word_dropout, embedding_dropout)
        )
    )
    output = layers.Activation("sigmoid", dtype="float32", name="Output")(logits)
    return keras.Model(tokens, output, name="overview_lstm_pooled")


def overview_features(
    tokens: keras.KerasTensor,
    genres: int,
    vocabulary_size: int,
    embedding_dim: int,
    units: int,
    word_dropout: float,
    embedding_dropout: float,
) -> keras.KerasTensor:
    """Map token ids (B, T) to the text's features, (B, 4 units + embedding_dim + genres)."""
    vectors = WordVectors(vocabulary_size, embedding_dim + genres, genres, name="WordVectors")(
        WordDropout(word_dropout, name="WordDropout")(tokens)
    )
    vectors = layers.SpatialDropout1D(embedding_dropout, name="DropVectors")(vectors)
    states = Bidirectional(layers.LSTM(units, return_sequences=True), name="BiLSTM")(vectors)
    return layers.Concatenate(name="Features")(
        [
            MaskedPooling("max", name="WordMax")(states),
            MaskedPooling("mean", name="WordMean")(states),
            MaskedPooling("scaled_sum", name="WordSum")(vectors),
        ]
    )
