"""A layer that hides random words in training, so that no single word decides."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

PADDING, UNKNOWN = 0, 1  # the first two ids of every vocabulary


@keras.saving.register_keras_serializable(package="kgenre")
class WordDropout(keras.layers.Layer):
    """Replaces each word of a text by the unknown word with probability ``rate`` while training.

    Iyyer et al. (2015), "Deep Unordered Composition Rivals Syntactic Methods for Text Classification"
    (https://aclanthology.org/P15-1162), drop the words; here their positions stay, as these matter to an LSTM. This is
    also how the network learns a vector for the unknown word, which may be in no training text.

    Input and output: int32 (B, T) token ids, 0 padding, 1 the unknown word.

    Args:
        rate: probability, 0 <= rate < 1.
        seed: seed of the random choice; None: the process's seed.
        **kwargs: ``name``, as for every Keras layer.

    Example:
        >>> WordDropout(0.5)(np.array([[7, 8, 9, 0]]), training=True)
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be at least 0 and below 1. Received: rate={rate}")
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def call(self, tokens: Any, training: bool | None = None) -> Any:
        """Map (B, T) to (B, T)."""
        if not training or not self.rate:
            return tokens
        dropped = keras.random.uniform(ops.shape(tokens), seed=self.seed_generator) < self.rate
        return ops.where(ops.logical_and(dropped, tokens != PADDING), UNKNOWN, tokens)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of ``__init__``."""
        return super().get_config() | {"rate": self.rate, "seed": self.seed}
