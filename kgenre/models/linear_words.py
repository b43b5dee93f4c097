"""The bag of words as a layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kgenre.models.films_with_words import count_films_with
from kgenre.models.log_odds import prior_log_odds


@keras.saving.register_keras_serializable(package="kgenre")
class LinearWords(keras.layers.Layer):
    """A linear map from the text's TF-IDF vector to the genres' log-odds; its bias starts at the genres' frequencies.

    Words are weighted as by scikit-learn's ``TfidfVectorizer(sublinear_tf=True)``: ``(1 + log tf) idf``, the text's
    vector scaled to length 1.

    Input: int32 (B, T) token ids, 0 padding. Output: float (B, units).

    Args:
        units: number of outputs, one per genre.
        vocabulary_size: ids are below it.
        scale: factor of the text's vector; at length 1, its many small values would need a learning rate of hundreds.
        **kwargs: ``name`` and ``dtype``, as for every Keras layer.
    """

    def __init__(self, units: int, vocabulary_size: int, scale: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.vocabulary_size = vocabulary_size
        self.scale = scale
        # An `Embedding`, because `word_importance` looks for these.
        self.kernel = keras.layers.Embedding(vocabulary_size, units, "zeros", dtype=self.dtype_policy, name="kernel")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights (vocabulary_size, units) and the words' idf (vocabulary_size,)."""
        self.kernel.build(input_shape)
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")
        self.idf = self.add_weight(shape=(self.vocabulary_size,), initializer="ones", trainable=False, name="idf")

    def adapt_to_films(self, films: Mapping[str, np.ndarray]) -> None:
        """Set the words' idf from ``films["overview"]``, int32 (n, T): ``log((1 + n) / (1 + df)) + 1``.

        The biases become the log-odds of the `frequencies` of ``films["genres"]``, (n, units).
        """
        self.set_bias_and_idf(films["genres"], count_films_with(films["overview"], self.vocabulary_size))

    def set_bias_and_idf(self, genres: np.ndarray, counts: np.ndarray) -> None:
        """Set bias and idf from the genres (n, units) of n films and each word's number of films (vocabulary_size,)."""
        self.bias.assign(prior_log_odds(genres))
        self.idf.assign(np.log((1 + len(genres)) / (1 + counts)) + 1)

    def call(self, tokens: Any) -> Any:
        """Map (B, T) to (B, units)."""
        real = ops.cast(tokens > 0, self.compute_dtype)  # (B, T)
        count = self._count(tokens)
        weight = (1 + ops.log(count)) * ops.take(self.idf, tokens, axis=0) * real
        # A word that occurs tf times is added tf times: each time with 1 / tf of its weight.
        length = ops.sqrt(ops.sum(weight**2 / count, axis=1, keepdims=True))
        share = self.scale * weight / count / ops.maximum(length, 1e-6)
        return ops.sum(self.kernel(tokens) * share[:, :, None], axis=1) + self.bias

    def _count(self, tokens: Any) -> Any:
        """Count each word in its own text, (B, T), without an array (B, T, T), as plots have thousands of words."""
        texts = ops.shape(tokens)[0]
        places = ops.cast(tokens, "int32") + self.vocabulary_size * ops.arange(texts, dtype="int32")[:, None]
        ones = ops.ones_like(ops.reshape(places, (-1,)), dtype=self.compute_dtype)
        counts = ops.segment_sum(ones, ops.reshape(places, (-1,)), num_segments=texts * self.vocabulary_size)
        return ops.take(counts, places)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of ``__init__``."""
        own = {"units": self.units, "vocabulary_size": self.vocabulary_size, "scale": self.scale}
        return super().get_config() | own
