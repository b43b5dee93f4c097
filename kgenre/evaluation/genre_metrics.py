"""Metrics of each genre on its own."""

from __future__ import annotations

import numpy as np

from kgenre.evaluation.checked_arrays import checked_genres, checked_probabilities
from kgenre.evaluation.ranking import Ranking
from kgenre.evaluation.thresholds import Thresholds


def genre_metrics(
    y_true: np.ndarray, y_prob: np.ndarray, threshold: float = 0.5, thresholds: Thresholds | None = None
) -> dict[str, np.ndarray]:
    """Measure how well each genre is predicted.

    Args:
        y_true: (n, G), 0 or 1 or bool.
        y_prob: (n, G) probabilities in [0, 1].
        threshold: probability above which a genre is predicted.
        thresholds: from `tune_thresholds` on validation films.

    Returns:
        ``support`` (films that have the genre), ``precision``, ``recall``, ``f1``, ``ap`` and ``roc_auc``, each (G,)
        float64; with ``thresholds`` also ``threshold`` (the genre's own), ``tuned_precision``, ``tuned_recall`` and
        ``tuned_f1`` at it. All but ``support``, ``threshold`` and the precisions are NaN for a genre that no film has.

    Raises:
        ValueError: as in `multilabel_metrics`.

    Example:
        >>> genre_metrics(np.array([[1, 0], [0, 0]]), np.array([[0.8, 0.1], [0.6, 0.2]]))["precision"]
        array([0.5, 0. ])
    """
    true = checked_genres(y_true)
    prob = checked_probabilities(y_prob, true.shape)
    support = true.sum(axis=0).astype(np.float64)
    precision, area = Ranking(true, prob).scores(np.ones(len(true), np.int64))
    metrics = {"support": support, **_at(true, prob > threshold), "ap": precision, "roc_auc": area}
    if thresholds is not None:
        own = np.array(thresholds.per_genre)
        metrics["threshold"] = own
        metrics |= {f"tuned_{name}": values for name, values in _at(true, prob > own).items()}
    return metrics


def _at(true: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    hits, chosen, support = (true & predicted).sum(axis=0), predicted.sum(axis=0), true.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return {
            "precision": hits / np.maximum(chosen, 1),
            "recall": hits / support,
            "f1": np.where(support > 0, 2 * hits / (chosen + support), np.nan),
        }
