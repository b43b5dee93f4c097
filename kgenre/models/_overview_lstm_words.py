"""kgenre's best reader of overviews: the pooled LSTM beside a bag of parts of words."""

from __future__ import annotations

import keras

from kgenre.models._overview_lstm_pooled import overview_lstm_pooled
from kgenre.models._overview_words import overview_words
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
    """Build `overview_lstm_pooled` and, side by side, `overview_words` on parts of words: the mean of their log-odds.

    The bag ranks films better, the LSTM is better calibrated, and they make other mistakes. Each learns from its own
    loss. Give the bag plain momentum, as Adam spoils it: ``layer_optimizers`` of `GenreClassifier`.

    Input: int32 (B, T) token ids of any T, 0 padding, 1 the unknown word, named "overview". Output: float32 (B,
    genres), an independent probability per genre; an overview without words gets the genres' frequencies.

    Args:
        genres: number of genres.
        vocabulary_size: token ids are below it; padding and the unknown word count.
        embedding_dim: length of a word's vector, to which comes a column for each genre.
        units: of the LSTM, in each direction.
        word_dropout: share of words that are unknown to the LSTM in a training step.
        embedding_dropout: rate on whole channels of the word vectors.
        dropout: rate before the LSTM's last layer.
        bag_word_dropout: share of words that are unknown to the bag in a training step.
        scale: see `LinearWords`.
        subwords: how many parts of words are known at most: `LinearSubwords`.
        min_df: words that fewer training films hold are unknown to the LSTM, which would learn their films by heart;
            the bag reads the parts of all, so leave the ``min_df`` of the data at 1.

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
