"""The mAP of films in random order: the chance level that a ranking has to exceed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kgenre.evaluation.bootstrap import drawn_counts, interval
from kgenre.evaluation.evaluation import Evaluation
from kgenre.evaluation.metrics import mean_of_present
from kgenre.evaluation.ranking import average_precision


def mean_ap_of_random_order(counts: Sequence[int] | np.ndarray, films: int) -> float:
    """Return the expected mAP of films in random order.

    For a genre that r of n films have: ((r - 1) / (n - 1) * (n - H) + H) / n with H = 1 + 1/2 + ... + 1/n (Bestgen
    2015, "Exact expected average precision of the random baseline for system evaluation"). It exceeds the share r / n.

    Args:
        counts: number of films of each genre; genres without any are left out, as in ``map``.
        films: n.

    Example:
        >>> round(mean_ap_of_random_order([3, 0], films=12), 3)
        0.393
    """
    present = np.array([count for count in counts if count > 0], np.float64)
    harmonic = float((1 / np.arange(1, films + 1)).sum())
    return float((((present - 1) / max(films - 1, 1) * (films - harmonic) + harmonic) / films).mean())


def compare_with_random_order(evaluation: Evaluation) -> tuple[float, bool]:
    """Return the mAP of films in random order, and whether a model's is significantly higher.

    This is decided by the bootstrap interval of the model's difference to the genre frequencies, which score all films
    equally; their mAP, the genres' share, is a little below random order. A report knows only that difference: this
    way both reach the same verdict.

    Args:
        evaluation: the model's.
    """
    true = evaluation.true.astype(np.float64)
    films = len(true)
    own = mean_of_present(average_precision(evaluation.true, evaluation.prob)[None])[0]
    counts = np.concatenate([np.ones((1, films)), drawn_counts(films)]) @ true  # (1 + rounds, G)
    level = mean_of_present(np.where(counts > 0, counts / films, np.nan))
    low, _ = interval(evaluation.resampled_map() - level[1:], float(own - level[0]), is_difference=True)
    order = mean_ap_of_random_order(evaluation.true.sum(axis=0), films)
    return order, bool(low + level[0] > order)
