"""The bag of words as a network: the baseline for text models, and a useful member of fusions."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from kgenre.engines import prepare_keras
from kgenre.models.linear_subwords import LinearSubwords
from kgenre.models.linear_words import LinearWords
from kgenre.models.word_dropout import WordDropout


def overview_words(
    genres: int = 25,
    vocabulary_size: int = 10_000,
    word_dropout: float = 0.4,
    scale: float = 10.0,
    subwords: int = 0,
) -> keras.Model:
    """Build a logistic regression on TF-IDF, which ignores the order of the words.

    Train it with plain momentum: Adam's steps are as large for a word in two films as for one in a thousand.

    Input: int32 (B, T) token ids of any T, 0 padding, 1 the unknown word, named "overview". Output: float32
    (B, genres), an independent probability per genre (sigmoid).

    Args:
        genres: number of genres.
        vocabulary_size: number of token ids, padding and the unknown word included.
        word_dropout: share of words replaced by the unknown word in a training step.
        scale: see `LinearWords`.
        subwords: if above 0, read subwords in place of words, with a vocabulary of this size: see `LinearSubwords`.

    Returns:
        A built model.

    Example:
        >>> module = GenreClassifier("overview_words", optimizer="sgd", learning_rate=0.5, schedule="cosine")
    """
    prepare_keras()
    tokens = keras.Input((None,), dtype="int32", name="overview")
    words = WordDropout(word_dropout, name="WordDropout")(tokens)
    arguments: dict[str, Any] = {"scale": scale, "dtype": "float32", "name": "Words"}
    if subwords:
        logits = LinearSubwords(genres, vocabulary_size, subwords, **arguments)(words)
    else:
        logits = LinearWords(genres, vocabulary_size, **arguments)(words)
    return keras.Model(
        tokens, layers.Activation("sigmoid", dtype="float32", name="Output")(logits), name="overview_words"
    )
