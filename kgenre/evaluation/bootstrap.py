"""Bootstrap confidence intervals: how much a metric would vary with other films of the same kind."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kgenre.data.progress_line import ProgressLine
from kgenre.evaluation.checked_arrays import checked_genres
from kgenre.evaluation.metrics import weighted_metrics
from kgenre.evaluation.thresholds import Thresholds

ROUNDS = 200
LEVEL = 0.95
# With fewer films, resamples hardly differ: an interval from two films seldom contains the true value.
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

    The same number of films and seed give the same resamples, so that the results of two models on the same films are
    paired: the interval of their difference tells whether one is better.

    Args:
        y_true: (n, G), as in `multilabel_metrics`.
        y_prob: (n, G).
        thresholds: as in `multilabel_metrics`.
        rounds: number of resamples.
        seed: for the draws.
        pooled: whether to compute ``ap_micro`` and ``roc_auc_micro``, which take half of the time.

    Returns:
        The metrics of `multilabel_metrics` by name, each (rounds,) float64.

    Example:
        >>> rounds = bootstrap_metrics(np.array([[1], [0], [1]]), np.array([[0.9], [0.2], [0.4]]), rounds=50)
        >>> rounds["loss"].shape
        (50,)
    """
    counts = drawn_counts(len(checked_genres(y_true)), rounds, seed)
    with ProgressLine("Resampling films") as progress:
        return weighted_metrics(y_true, y_prob, counts, thresholds=thresholds, pooled=pooled, on_progress=progress)


def drawn_counts(films: int, rounds: int = ROUNDS, seed: int = 0) -> np.ndarray:
    """Return how often each resample of `bootstrap_metrics` contains each film: int (rounds, films)."""
    draws = np.random.default_rng(seed).integers(films, size=(rounds, films))
    return np.stack([np.bincount(draw, minlength=films) for draw in draws])


def interval(values: np.ndarray, value: float, is_difference: bool = False) -> tuple[float, float]:
    """Return the 95 % interval of a metric from its resampled values: percentiles shifted by their bias (Efron, 1979).

    A resample contains films twice, which flatters the ranking of rare genres: resampled mAP is on average above the
    films' own mAP, which would be at the lower end of plain percentiles, or below it.

    Args:
        values: (rounds,), from `bootstrap_metrics`, or the differences between two models' values.
        value: the metric on the films themselves.
        is_difference: whether these are differences, whose interval may go below 0 even if no resample does.

    Returns:
        Low and high; (NaN, NaN) if the metric is undefined in every resample.
    """
    known = values[~np.isnan(values)]
    if not known.size:
        return float("nan"), float("nan")
    # Of B values, the quantile p is the (B + 1) p-th (Davison and Hinkley, 1997): NumPy's default would make intervals
    # from 200 values 2 % too narrow.
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="weibull") + value - known.mean()
    if known.min() >= 0 and not is_difference:  # no bound below 0 for what is never negative, nor above 1 for shares
        low = max(low, 0.0)
    if known.max() <= 1:
        high = min(high, 1.0)
    return float(low), float(high)


def small_sample_warning(films: int, stage: str) -> str:
    """Return a warning if a stage ("validation", "test") has too few films for intervals; "" if it has enough.

    Example:
        >>> small_sample_warning(2, "test")
        '2 test films are too few to judge by: differences may be due to chance.'
    """
    if films >= _FEW:
        return ""
    some = f"1 {stage} film is" if films == 1 else f"{films} {stage} films are"
    return f"{some} too few to judge by: differences may be due to chance."


def intervals(rounds: Mapping[str, np.ndarray], metrics: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Return the `interval` of each metric of `bootstrap_metrics`, given the films' own (`multilabel_metrics`)."""
    return {name: interval(values, metrics[name]) for name, values in rounds.items()}
