"""How well probabilities rank the films of a genre (average precision, ROC AUC) and the genres of a film, in NumPy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_PAIRS_AT_ONCE = 10_000_000  # bounds the memory of `label_ranking`: true genres of films, times genres


class Ranking:
    """Films sorted once by their probabilities, so that a resample of the films costs two cumulative sums.

    Films with equal probabilities share one threshold: their order does not matter.

    Args:
        true: (n, C) bool.
        prob: (n, C) float64, any score that grows with confidence.
        pooled: rank all n * C pairs together, as one column.
    """

    def __init__(self, true: npt.NDArray[np.bool_], prob: Floats, pooled: bool = False) -> None:
        columns = true.shape[1]
        true, prob = (true.reshape(1, -1), prob.reshape(1, -1)) if pooled else (true.T, prob.T)
        order = np.argsort(-prob, axis=1, kind="stable")  # (C, m), or (1, n * C)
        ranked = np.take_along_axis(prob, order, axis=1)
        positive = np.take_along_axis(true, order, axis=1)
        self._film = order // columns if pooled else order
        m = ranked.shape[1]
        position = np.arange(m)
        new = np.ones(ranked.shape, bool)
        new[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
        last = np.ones(ranked.shape, bool)
        last[:, :-1] = new[:, 1:]
        start = np.maximum.accumulate(np.where(new, position, 0), axis=1)  # first and last position of each tie
        end = np.minimum.accumulate(np.where(last, position, m)[:, ::-1], axis=1)[:, ::-1]
        # Only the positions of positives enter the sums: a few percent.
        self._column, place = np.nonzero(positive)
        self._positive_film = self._film[self._column, place]
        self._start, self._end = start[self._column, place], end[self._column, place] + 1
        before = np.zeros((len(ranked), m + 1), np.intp)  # positives before each position, over all columns
        positive.cumsum(axis=1, out=before[:, 1:])
        before += np.concatenate([[0], before[:-1, -1].cumsum()])[:, None]
        self._first = before[self._column, 0]
        self._positives_at_start = before[self._column, self._start]
        self._positives_at_end = before[self._column, self._end]

    def scores(self, counts: npt.NDArray[np.integer]) -> tuple[Floats, Floats]:
        """Return average precision and ROC AUC (C,) with films counted ``counts`` (n,) times; NaN where undefined."""
        columns = len(self._film)
        # Films before each position; sums of integers take a fifth of the time of floats'.
        films = np.zeros((columns, self._film.shape[1] + 1), np.int64)
        np.cumsum(counts.take(self._film), axis=1, out=films[:, 1:])
        own = counts.take(self._positive_film)
        found = np.concatenate([[0], own.cumsum()])
        found_start = found[self._positives_at_start] - found[self._first]
        found_end = found[self._positives_at_end] - found[self._first]
        films_start, films_end = films[self._column, self._start], films[self._column, self._end]
        precision = found_end / np.maximum(films_end, np.finfo(float).tiny)
        positives = np.bincount(self._column, own, columns)
        negatives = films[:, -1] - positives
        others_start, others_end = films_start - found_start, films_end - found_end
        beaten = negatives[self._column] - (others_start + others_end) / 2  # a tie is half a win
        with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 is the documented NaN
            precisions = np.bincount(self._column, own * precision, columns) / positives
            areas = np.bincount(self._column, own * beaten, columns) / (positives * negatives)
        areas[(positives == 0) | (negatives == 0)] = np.nan
        return precisions, areas


def average_precision(y_true: np.ndarray, y_prob: np.ndarray) -> np.ndarray:
    """Measure how well each genre's probabilities rank the films that have it above those that do not.

    ``AP = sum_n (R_n - R_{n-1}) P_n`` over the distinct probabilities as thresholds, without interpolation:
    scikit-learn's definition, for all genres in one pass
    (https://scikit-learn.org/stable/modules/generated/sklearn.metrics.average_precision_score.html). Films with
    equal probabilities share one threshold, so their order does not matter; the same probability for every film
    yields the genre's frequency.

    Args:
        y_true: (n, G), 0 or 1 or bool.
        y_prob: (n, G) float, any score that grows with confidence; no NaN.

    Returns:
        (G,) float64 in [0, 1]; NaN where no film has the genre: there is nothing to rank.

    Example:
        >>> average_precision(np.array([[1], [0], [1]]), np.array([[0.9], [0.8], [0.7]])).round(4)
        array([0.8333])
    """
    return _ranking(y_true, y_prob)[0]


def roc_auc(y_true: np.ndarray, y_prob: np.ndarray) -> np.ndarray:
    """Measure how often a film with a genre gets a higher probability than one without it, for each genre.

    The area under the ROC curve; ties count one half (Hanley and McNeil, 1982,
    https://doi.org/10.1148/radiology.143.1.7063747). The same probability for every film yields 0.5.

    Args:
        y_true: (n, G), 0 or 1 or bool.
        y_prob: (n, G) float, any score that grows with confidence; no NaN.

    Returns:
        (G,) float64 in [0, 1]; NaN where no film or every film has the genre.

    Example:
        >>> roc_auc(np.array([[1], [0], [1]]), np.array([[0.9], [0.8], [0.7]]))
        array([0.5])
    """
    return _ranking(y_true, y_prob)[1]


def _ranking(y_true: np.ndarray, y_prob: np.ndarray) -> tuple[Floats, Floats]:
    ranking = Ranking(np.asarray(y_true).astype(bool), np.asarray(y_prob, np.float64))
    return ranking.scores(np.ones(len(y_prob), np.int64))


def label_ranking(true: npt.NDArray[np.bool_], prob: Floats) -> tuple[np.ndarray, np.ndarray]:
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
    count = true.sum(axis=1)
    shares, coverage = np.zeros((films, genres)), np.zeros(films)
    step = max(_PAIRS_AT_ONCE // (genres * int(count.max(initial=1))), 1)
    for first in range(0, films, step):
        film, genre = np.nonzero(true[first : first + step])  # true genres only: a few of each film
        film += first
        at_least = prob[film] >= prob[film, genre][:, None]  # (true genres, those ranked no lower)
        rank = at_least.sum(axis=1)
        shares[film, genre] = (at_least & true[film]).sum(axis=1) / rank
        np.maximum.at(coverage, film, rank)
    with np.errstate(invalid="ignore"):
        return shares.sum(axis=1) / count, coverage
