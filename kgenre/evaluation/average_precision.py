"""Average precision of every genre at once, exact and in NumPy."""

from __future__ import annotations

import numpy as np


def average_precision(y_true: np.ndarray, y_prob: np.ndarray) -> np.ndarray:
    """Measure how well each genre's probabilities rank the films that have it above those that do not.

    ``AP = sum_n (R_n - R_{n-1}) P_n`` over the distinct probabilities as thresholds, without interpolation:
    scikit-learn's definition, for all genres in one pass
    (https://scikit-learn.org/stable/modules/generated/sklearn.metrics.average_precision_score.html). Films of
    equal probability share one threshold, so their order does not matter; the same probability for every film
    gives the genre's frequency.

    Args:
        y_true: (n, G), 0 or 1 or bool.
        y_prob: (n, G) float, any score that grows with the belief; no NaN.

    Returns:
        (G,) float64 in [0, 1]; NaN where no film has the genre: there is nothing to rank.

    Example:
        >>> average_precision(np.array([[1], [0], [1]]), np.array([[0.9], [0.8], [0.7]])).round(4)
        array([0.8333])
    """
    films = len(y_prob)
    order = np.argsort(-y_prob, axis=0)
    prob = np.take_along_axis(y_prob, order, axis=0)
    true = np.take_along_axis(np.asarray(y_true, dtype=np.float64), order, axis=0)
    rank = np.arange(1, films + 1)[:, None]
    precision = true.cumsum(axis=0) / rank
    # A tie is one threshold: every film in it gets the precision at the tie's last film.
    last = np.ones(prob.shape, dtype=bool)
    last[:-1] = prob[1:] != prob[:-1]
    end = np.where(last, rank, films)
    end = np.minimum.accumulate(end[::-1], axis=0)[::-1]
    at_threshold = np.take_along_axis(precision, end - 1, axis=0)
    positives = true.sum(axis=0)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN that is promised
        return (true * at_threshold).sum(axis=0) / positives
