"""How much a number would move with other films of the same kind: bootstrap confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kgenre.evaluation.metrics import MetricsOfResamples
from kgenre.evaluation.thresholds import Thresholds

ROUNDS = 200
LEVEL = 0.95


def bootstrap_metrics(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    thresholds: Thresholds | None = None,
    rounds: int = ROUNDS,
    seed: int = 0,
    threshold: float = 0.5,
    k: int = 3,
) -> dict[str, np.ndarray]:
    """Compute the metrics of ``rounds`` resamples of the films, drawn with replacement (Efron, 1979).

    The same number of films and seed give the same resamples: of two models on the same films the difference of their
    results is paired, and its interval says whether one is better.

    Args:
        y_true: (n, G), as in `multilabel_metrics`.
        y_prob: (n, G).
        thresholds: the same.
        rounds: resamples.
        seed: of the draws.
        threshold: the same.
        k: the same.

    Returns:
        The names of `multilabel_metrics`, each (rounds,) float64.

    Example:
        >>> rounds = bootstrap_metrics(np.array([[1], [0], [1]]), np.array([[0.9], [0.2], [0.4]]), rounds=50)
        >>> rounds["loss"].shape
        (50,)
    """
    metrics = MetricsOfResamples(y_true, y_prob, threshold, k, thresholds)
    draws = np.random.default_rng(seed).integers(metrics.films, size=(rounds, metrics.films))
    weights = np.stack([np.bincount(draw, minlength=metrics.films) for draw in draws])
    return metrics(weights)


def interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval of resampled values; (NaN, NaN) where a resample left the value undefined everywhere."""
    known = values[~np.isnan(values)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def intervals(rounds: Mapping[str, np.ndarray], level: float = LEVEL) -> dict[str, tuple[float, float]]:
    """`interval` of each metric of `bootstrap_metrics`."""
    return {name: interval(values, level) for name, values in rounds.items()}
