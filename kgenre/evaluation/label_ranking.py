"""How well the genres of one film are ranked: average precision over its labels, and coverage."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_PAIRS_AT_ONCE = 10_000_000  # bounds the memory: films times genres squared


def label_ranking(true: npt.NDArray[np.bool_], prob: npt.NDArray[np.float64]) -> tuple[np.ndarray, np.ndarray]:
    """Compute label-ranking average precision and coverage of each film (Tsoumakas, Katakis and Vlahavas, 2010).

    The first is the share of true genres among those ranked at least as high, averaged over the film's genres; the
    second is how far down the list one must go to find them all. scikit-learn's definitions, ties included
    (https://scikit-learn.org/stable/modules/model_evaluation.html#multilabel-ranking-metrics).

    Args:
        true: (n, G).
        prob: (n, G).

    Returns:
        Two (n,) float64; NaN and 0 for a film without genres.
    """
    films, genres = true.shape
    precision, coverage = np.empty(films), np.empty(films)
    step = max(_PAIRS_AT_ONCE // genres**2, 1)
    for first in range(0, films, step):
        t, p = true[first : first + step], prob[first : first + step]
        at_least = p[:, None, :] >= p[:, :, None]  # (films, genre, those ranked no lower)
        rank = at_least.sum(axis=2)
        right = (at_least & t[:, None, :]).sum(axis=2)
        with np.errstate(invalid="ignore"):
            precision[first : first + step] = np.where(t, right / rank, 0).sum(axis=1) / t.sum(axis=1)
        coverage[first : first + step] = np.where(t, rank, 0).max(axis=1)
    return precision, coverage
