"""A layer that adds up the evidence of several sources on a film; a source that the film lacks adds nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kgenre.models.log_odds import prior_log_odds


@keras.saving.register_keras_serializable(package="kgenre")
class EvidenceSum(keras.layers.Layer):
    """Log-odds of the genres: their prior plus each source's evidence, as if the sources were independent.

    A source is absent where its input is all 0: no token, or a black poster. In training, a share ``rate`` of the films
    lose one of all sources, chosen at random, unless they lack it or have no other, so that each source learns to do
    without the others (modality dropout: Neverova et al., 2016, https://arxiv.org/abs/1501.00102).

    Input: a list of evidence, float (B, G) each, and as ``read`` a list of each source's input, (B, ...). Output: float
    (B, G) log-odds.

    Args:
        rate: share of films that lose a source in a training step.
        seed: seed of the random choice.
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
        """Create the prior (G,), 0 until `adapt_to_films`; a bias by name, so that it does not decay to 0."""
        self.prior = self.add_weight(shape=(evidence_shape[0][-1],), initializer="zeros", name="bias")

    def adapt_to_films(self, films: Mapping[str, np.ndarray]) -> None:
        """Set the prior to the log-odds of the `frequencies` of ``films["genres"]``, (n, G)."""
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
