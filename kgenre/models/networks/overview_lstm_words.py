"""kgenre's best overview network: the pooled LSTM next to a bag of subwords."""

from __future__ import annotations

import keras

from kgenre.models.networks.overview_lstm_pooled import overview_lstm_pooled
from kgenre.models.networks.overview_words import overview_words
from kgenre.models.side_by_side import side_by_side


def overview_lstm_words(
    genres: int = 25,
    vocabulary_size: int = 10_000,
    embedding_dim: int = 200,
    units: int = 48,
    word_dropout: float = 0.2,
    embedding_dropout: float = 0.3,
    dropout: float = 0.5,
    bag_word_dropout: float = 0.4,
    scale: float = 10.0,
    subwords: int = 10_000,
    min_df: int = 2,
) -> keras.Model:
    """Build `overview_lstm_pooled` and `overview_words` on subwords side by side: the mean of their log-odds.

    The bag ranks films better, the LSTM is better calibrated, and they make different mistakes. Each learns from its
    own loss. Train the bag with plain momentum (``layer_optimizers`` of `GenreClassifier`): Adam harms it.

    Input: int32 (B, T) token ids of any T, 0 padding, 1 the unknown word, named "overview". Output: float32 (B,
    genres), an independent probability per genre; for an overview without words, the genres' frequencies.

    Args:
        genres: number of genres.
        vocabulary_size: number of token ids, padding and the unknown word included.
        embedding_dim: length of a word's vector, not counting an extra column for each genre.
        units: LSTM units in each direction.
        word_dropout: share of words hidden from the LSTM in a training step.
        embedding_dropout: rate on whole channels of the word vectors.
        dropout: rate before the LSTM's last layer.
        bag_word_dropout: share of words hidden from the bag in a training step.
        scale: see `LinearWords`.
        subwords: size of the bag's subword vocabulary: see `LinearSubwords`.
        min_df: words in fewer training films than this are hidden from the LSTM, which would memorise their films; the
            bag reads the subwords of all words, so leave the ``min_df`` of the data at 1.

    Returns:
        A built model.

    Example:
        >>> words = {"optimizer": "sgd", "learning_rate": 0.5}
        >>> GenreClassifier("overview_lstm_words", learning_rate=3e-3, layer_optimizers={"Words": words})
    """
    lstm = overview_lstm_pooled(
        genres, vocabulary_size, embedding_dim, units, word_dropout, embedding_dropout, dropout, min_df
    )
    bag = overview_words(genres, vocabulary_size, bag_word_dropout, scale, subwords)
    return side_by_side([lstm, bag], "overview_lstm_words")
