"""A layer that replaces words in too few films to learn from by the unknown word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kgenre.models.films_with_words import count_films_with
from kgenre.models.word_dropout import PADDING, UNKNOWN


@keras.saving.register_keras_serializable(package="kgenre")
class FrequentWords(keras.layers.Layer):
    """Replaces words in fewer than ``min_df`` training films by the unknown word.

    For a member that would memorise the film of such a word, next to another that reads the word's subwords.

    Input and output: int32 (B, T) token ids, 0 padding, 1 the unknown word.

    Args:
        vocabulary_size: ids are below it.
        min_df: fewest films that a word must be in to be kept.
        **kwargs: ``name``, as for every Keras layer.
    """

    def __init__(self, vocabulary_size: int, min_df: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size, self.min_df = vocabulary_size, min_df

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create ``token``, int32 (vocabulary_size,): what each word becomes, itself until `adapt_to_films`."""

        def first(shape: Any, dtype: Any = None) -> Any:
            return ops.arange(self.vocabulary_size, dtype=dtype)

        shape = (self.vocabulary_size,)
        self.token = self.add_weight(shape=shape, initializer=first, dtype="int32", trainable=False, name="token")

    def adapt_to_films(self, films: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Find the rare words of ``films["overview"]``, int32 (n, T); return the films with these replaced."""
        frequent = count_films_with(films["overview"], self.vocabulary_size) >= self.min_df
        token = np.where(frequent, np.arange(self.vocabulary_size), UNKNOWN)
        token[PADDING] = PADDING
        token = token.astype("int32")
        self.token.assign(token)
        return {**films, "overview": token[films["overview"]]}

    def call(self, tokens: Any) -> Any:
        """Map (B, T) to (B, T)."""
        return ops.take(self.token, tokens, axis=0)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of ``__init__``."""
        return super().get_config() | {"vocabulary_size": self.vocabulary_size, "min_df": self.min_df}
