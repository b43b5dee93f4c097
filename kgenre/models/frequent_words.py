"""Words that too few films hold to learn from, made unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kgenre.models.films_with_words import films_with
from kgenre.models.word_dropout import PADDING, UNKNOWN


@keras.saving.register_keras_serializable(package="kgenre")
class FrequentWords(keras.layers.Layer):
    """Replaces words that fewer than ``min_df`` training films hold by the unknown word.

    For a member that would learn such a word's one film by heart, beside another that reads the word's parts.

    Input and output: int32 (B, T) token ids, 0 padding, 1 the unknown word.

    Args:
        vocabulary_size: ids are below it.
        min_df: films that hold a word at least.
        **kwargs: ``name``, as for every Keras layer.
    """

    def __init__(self, vocabulary_size: int, min_df: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size, self.min_df = vocabulary_size, min_df

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make ``token``, int32 (vocabulary_size,), what each word becomes: itself until `adapt_to_films`."""

        def first(shape: Any, dtype: Any = None) -> Any:
            return ops.arange(self.vocabulary_size, dtype=dtype)

        shape = (self.vocabulary_size,)
        self.token = self.add_weight(shape=shape, initializer=first, dtype="int32", trainable=False, name="token")

    def adapt_to_films(self, films: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Count the films of ``films["overview"]``, int32 (n, T), that hold each word; returns films with fewer."""
        frequent = films_with(films["overview"], self.vocabulary_size) >= self.min_df
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
