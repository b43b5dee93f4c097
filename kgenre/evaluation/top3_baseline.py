"""A baseline that predicts the same three genres for every film."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np

from kgenre.evaluation.baselines import FrequencyBaseline, OnProgress


class Top3Baseline:
    """Predicts the three most frequent genres of the training films, for every film.

    It returns hard decisions (1 or 0), not probabilities: metrics of probabilities and rankings do not apply to it.

    Example:
        >>> genres = np.array([[1, 0, 0, 1], [1, 1, 0, 1], [1, 1, 1, 0]])
        >>> Top3Baseline().fit(["a", "b", "c"], genres).predict_proba(["new"])
        array([[1., 1., 0., 1.]])
    """

    key: ClassVar[str] = "top3"
    title: ClassVar[str] = "always the three most frequent genres"
    reads: ClassVar[str | None] = None

    def fit(self, films: Sequence[Any] | np.ndarray, genres: np.ndarray, on_progress: OnProgress | None = None) -> Self:
        """Count the genres (n, G)."""
        frequencies = FrequencyBaseline().fit(films, genres).frequencies_
        self.decisions_ = np.zeros(len(frequencies))
        self.decisions_[np.argsort(-frequencies, kind="stable")[:3]] = 1
        return self

    def predict_proba(self, films: Sequence[Any] | np.ndarray) -> np.ndarray:
        """Return (n, G) float64 of 1 and 0, the same for each of the n films."""
        return np.tile(self.decisions_, (len(films), 1))
