"""What films in random order reach: the level that a ranking has to be above."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kgenre.evaluation.bootstrap import bootstrap_metrics, interval
from kgenre.evaluation.metrics import multilabel_metrics


def mean_ap_of_random_order(counts: Sequence[int] | np.ndarray, films: int) -> float:
    """The mAP that films in random order have on average.

    Of a genre that r of n films have: ((r - 1) / (n - 1) * (n - H) + H) / n with H = 1 + 1/2 + ... + 1/n (Bestgen 2015,
    "Exact expected average precision of the random baseline for system evaluation"). More than its share, r / n.

    Args:
        counts: how many films each genre has; genres without any are left out, as in ``map``.
        films: n.

    Example:
        >>> round(mean_ap_of_random_order([3, 0], films=12), 3)
        0.393
    """
    present = np.array([count for count in counts if count > 0], np.float64)
    harmonic = float((1 / np.arange(1, films + 1)).sum())
    return float((((present - 1) / max(films - 1, 1) * (films - harmonic) + harmonic) / films).mean())


def beside_random_order(y_true: np.ndarray, y_prob: np.ndarray, guess: np.ndarray) -> tuple[float, bool]:
    """The mAP of films in random order, and whether a model's is higher by more than chance.

    By the bootstrap interval of its difference to a guess that is level over the films, whose own mAP, the genres'
    share, is a little below random order: of a report, which knows that difference alone, this is the same verdict.

    Args:
        y_true: (n, G), as in `multilabel_metrics`.
        y_prob: (n, G), the model's.
        guess: (n, G), the genre frequencies.
    """
    order = mean_ap_of_random_order(y_true.sum(axis=0), len(y_true))
    own, level = (multilabel_metrics(y_true, prob)["map"] for prob in (y_prob, guess))
    rounds = [bootstrap_metrics(y_true, prob)["map"] for prob in (y_prob, guess)]
    low, _ = interval(rounds[0] - rounds[1], own - level)
    return order, bool(low + level > order)
