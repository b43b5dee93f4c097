"""What several sources say of a film, added up; a source that a film lacks says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kgenre.models.frequencies import prior_log_odds


@keras.saving.register_keras_serializable(package="kgenre")
class EvidenceSum(keras.layers.Layer):
    """Log-odds of the genres: their prior plus each source's evidence, as if the sources were independent.

    A source is absent where all numbers of what it was read from are 0: no token, a poster without a picture. While
    training, ``rate`` of the films that have several sources lose one, chosen at random, so that each learns to stand
    alone (modality dropout: Neverova et al., 2016, https://arxiv.org/abs/1501.00102).

    Input: a list of evidence, float (B, G) each, and as ``read`` a list of what each was read from, (B, ...). Output:
    float (B, G) log-odds.

    Args:
        rate: of films that lose a source in a training step.
        seed: of the draws.
        **kwargs: ``name`` and ``dtype``, as for every Keras layer.
    """

    def __init__(self, rate: float = 0.0, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be at least 0 and below 1. Received: rate={rate}")
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, evidence_shape: Sequence[Any], read_shape: Any = None) -> None:
        """Make the prior (G,), 0 until `adapt_to_films`."""
        self.prior = self.add_weight(shape=(evidence_shape[0][-1],), initializer="zeros", name="bias")

    def adapt_to_films(self, films: Mapping[str, np.ndarray]) -> None:
        """Start at the log-odds of the `frequencies` of ``films["genres"]``, (n, G)."""
        self.prior.assign(prior_log_odds(films["genres"]))

    def call(self, evidence: Sequence[Any], read: Sequence[Any], training: bool | None = None) -> Any:
        """Map a list of (B, G) to (B, G)."""
        present = ops.stack([self._present(values) for values in read], axis=1)  # (B, sources)
        if training and self.rate:
            films, sources = ops.shape(present)[0], len(read)
            loses = keras.random.uniform((films, 1), seed=self.seed_generator) < self.rate
            which = keras.random.randint((films,), 0, sources, seed=self.seed_generator)
            several = ops.sum(present, axis=1, keepdims=True) > 1
            lost = ops.cast(ops.logical_and(loses, several), present.dtype) * ops.one_hot(
                which, sources, dtype=present.dtype
            )
            present = present * (1 - lost)
        return self.prior + sum(part * present[:, i : i + 1] for i, part in enumerate(evidence))

    def _present(self, values: Any) -> Any:
        axes = tuple(range(1, len(values.shape)))
        return ops.cast(ops.any(ops.not_equal(values, 0), axis=axes), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of ``__init__``."""
        return super().get_config() | {"rate": self.rate, "seed": self.seed}
