"""kgenre's best reader of overviews: the pooled LSTM, words and parts of words as members of one network."""

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
    linear_word_dropout: float = 0.4,
    scale: float = 10.0,
    subwords: int = 10_000,
    min_df: int = 2,
) -> keras.Model:
    """Build `overview_lstm_pooled` and two bags side by side, of words and of parts of words: a mean of log-odds.

    The LSTM counts half, each bag (`overview_words`) a quarter. Bags rank films better, the LSTM is better calibrated,
    and they make other mistakes. Each learns from its own loss. Give the bags plain momentum, as Adam spoils them:
    ``layer_optimizers`` of `GenreClassifier`.

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
        linear_word_dropout: share of words that are unknown to the bag of words in a training step.
        scale: see `LinearWords`.
        subwords: how many parts of words are known at most: `LinearSubwords`.
        min_df: words that fewer training films hold are unknown to the LSTM and the bag of words; the parts of all
            are read, so leave the ``min_df`` of the data at 1.

    Returns:
        A built model.

    Example:
        >>> words = {"optimizer": "sgd", "learning_rate": 0.5}
        >>> GenreClassifier("overview_lstm_words", learning_rate=3e-3, layer_optimizers={"Words": words})
    """
    linear = {"word_dropout": linear_word_dropout, "scale": scale}
    bags = [
        overview_words(genres, vocabulary_size, min_df=min_df, **linear),
        overview_words(genres, vocabulary_size, subwords=subwords, **linear),
    ]
    lstm = overview_lstm_pooled(
        genres, vocabulary_size, embedding_dim, units, word_dropout, embedding_dropout, dropout, min_df
    )
    return side_by_side([lstm, side_by_side(bags, "bags")], "overview_lstm_words")
