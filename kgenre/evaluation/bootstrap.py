"""How much a number would move with other films of the same kind: bootstrap confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kgenre.evaluation.metrics import MetricsOfResamples
from kgenre.evaluation.thresholds import Thresholds

ROUNDS = 200
LEVEL = 0.95
# Of so few films the same ones come again and again: the intervals of two films seldom hold the truth.
_FEW = 20


def bootstrap_metrics(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    thresholds: Thresholds | None = None,
    rounds: int = ROUNDS,
    seed: int = 0,
    pooled: bool = True,
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
        pooled: whether ``ap_micro`` and ``roc_auc_micro`` are wanted, which take half of the time.

    Returns:
        The names of `multilabel_metrics`, each (rounds,) float64.

    Example:
        >>> rounds = bootstrap_metrics(np.array([[1], [0], [1]]), np.array([[0.9], [0.2], [0.4]]), rounds=50)
        >>> rounds["loss"].shape
        (50,)
    """
    metrics = MetricsOfResamples(y_true, y_prob, thresholds=thresholds, pooled=pooled)
    return metrics(drawn_counts(metrics.films, rounds, seed))


def drawn_counts(films: int, rounds: int = ROUNDS, seed: int = 0) -> np.ndarray:
    """How often each resample has each film: int (rounds, films), those of `bootstrap_metrics`."""
    draws = np.random.default_rng(seed).integers(films, size=(rounds, films))
    return np.stack([np.bincount(draw, minlength=films) for draw in draws])


def interval(values: np.ndarray, value: float, is_difference: bool = False) -> tuple[float, float]:
    """The 95 % interval of a metric from its resampled values: percentiles, moved by their bias (Efron, 1979).

    A resample holds films twice, which flatters the ranking of rare genres: resampled mAP is on average above that of
    the films themselves, which would stand at the lower end of plain percentiles, or below it.

    Args:
        values: (rounds,), of `bootstrap_metrics`, or the differences of two models' values.
        value: the metric of the films themselves.
        is_difference: of two models' values: it may be below 0 though no resample is.

    Returns:
        Low and high; (NaN, NaN) where every resample left the metric undefined.
    """
    known = values[~np.isnan(values)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) + value - known.mean()
    if known.min() >= 0 and not is_difference:  # what is never negative has no negative bound, a share none above 1
        low = max(low, 0.0)
    if known.max() <= 1:
        high = min(high, 1.0)
    return float(low), float(high)


def too_few(films: int, stage: str) -> str:
    """What is to be said where a stage ("validation", "test") has too few films for intervals; "" where it has enough.

    Example:
        >>> too_few(2, "test")
        '2 test films are too few to judge by: differences may be due to chance.'
    """
    if films >= _FEW:
        return ""
    some = f"1 {stage} film is" if films == 1 else f"{films} {stage} films are"
    return f"{some} too few to judge by: differences may be due to chance."


def intervals(rounds: Mapping[str, np.ndarray], metrics: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """`interval` of each metric of `bootstrap_metrics`, given those of the films themselves (`multilabel_metrics`)."""
    return {name: interval(values, metrics[name]) for name, values in rounds.items()}
