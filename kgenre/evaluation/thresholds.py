"""Thresholds, tuned on validation films: the probabilities above which a genre counts as predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from kgenre.evaluation.checked_arrays import checked_genres, checked_probabilities

# The thresholds tried are evenly spaced in log-odds, as probabilities of rare genres are small. F1 is smoothed over a
# window of neighbours before its maximum is taken, so that no peak due to a single film wins. If all probabilities lie
# within less than the window, as after an epoch or two, it would hide every difference: it is narrowed.
_STEP = 0.1
_GRID = 1 / (1 + np.exp(-np.linspace(-5.3, 3.5, 89)))
_WINDOW = 7
MIN_POSITIVES = 10
_LEAST = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class Thresholds:
    """A genre is predicted where its probability is above its threshold (strictly).

    Args:
        overall: one for all genres.
        per_genre: one for each of the G genres.
    """

    overall: float
    per_genre: tuple[float, ...]

    def to_json(self, genre_names: Sequence[str]) -> dict[str, Any]:
        """Return the thresholds as JSON values, for a checkpoint."""
        return {"overall": self.overall, "per_genre": dict(zip(genre_names, self.per_genre, strict=True))}

    @classmethod
    def from_json(cls, state: Mapping[str, Any], genre_names: Sequence[str]) -> Self:
        """Restore from `to_json`, in the order of ``genre_names``; genres missing there have the overall threshold."""
        overall, per_genre = state["overall"], state["per_genre"]
        return cls(overall, tuple(per_genre.get(name, overall) for name in genre_names))


def tune_thresholds(y_true: np.ndarray, y_prob: np.ndarray, min_positives: int = MIN_POSITIVES) -> Thresholds:
    """Choose the thresholds with the best F1 on validation films; never pass it test films.

    ``overall`` has the best micro-F1, ``per_genre`` the best F1 of each genre, both after smoothing over neighbouring
    thresholds, as far as that costs no more F1 on these films than half its binomial error (0.5 divided by the square
    root of the number of films that have the genre). If 0.5 does better on these films, ``overall`` is 0.5. A genre
    gets ``overall`` if it has fewer than ``min_positives`` films, or if its best F1 does not exceed the F1 of
    predicting it for every film by half that error: on a handful of films the best threshold is chance, and for an
    uninformative ranking it is the one that predicts everything (Lipton, Elkan and Naryanaswamy, 2014,
    https://arxiv.org/abs/1402.1892).

    Args:
        y_true: (n, G), 0 or 1 or bool.
        y_prob: (n, G) probabilities.
        min_positives: films that a genre needs for a threshold of its own.

    Raises:
        ValueError: as in `multilabel_metrics`.

    Example:
        >>> true, prob = np.array([[1], [1], [0], [0]]), np.array([[0.4], [0.3], [0.1], [0.1]])
        >>> 0.1 < tune_thresholds(true, prob).overall < 0.3
        True
    """
    true = checked_genres(y_true)
    prob = checked_probabilities(y_prob, true.shape)
    tries = len(_GRID)
    # Pairs are counted by genre and by thresholds passed; sums from the top are the pairs above each threshold.
    passed = np.searchsorted(_GRID, prob, side="left")  # thresholds strictly below the probability
    column = np.broadcast_to(np.arange(true.shape[1]), true.shape)
    place = column * (tries + 1) + passed

    def above(weights: np.ndarray | None) -> np.ndarray:  # (G, tries): pairs with a probability above each threshold
        counts = np.bincount(place.ravel(), weights, true.shape[1] * (tries + 1)).reshape(-1, tries + 1)
        return counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]

    predicted, hits = above(None), above(true.ravel().astype(float))
    support = true.sum(axis=0)
    with np.errstate(invalid="ignore"):
        f1 = 2 * hits / (predicted + support[:, None])
        pooled = 2 * hits.sum(axis=0) / (predicted.sum(axis=0) + support.sum())
    pairs = true.ravel(), prob.ravel()
    overall, _ = _best(pooled, *pairs)
    if _f1(*pairs, 0.5) > _f1(*pairs, overall):
        overall = 0.5
    best = [_best(*of_genre) for of_genre in zip(f1, true.T, prob.T, strict=True)]
    blind = 2 * support / (len(true) + support)  # F1 of predicting it for every film
    reached = np.array([value for _, value in best])
    fallback = (support < min_positives) | (reached < blind + _error(support))
    per_genre = tuple(overall if fell else threshold for fell, (threshold, _) in zip(fallback, best, strict=True))
    return Thresholds(overall, per_genre)


def _error(support: np.ndarray | int) -> np.ndarray:
    """Return half the binomial error of an F1 that ``support`` true pairs decide."""
    return 0.5 / np.sqrt(np.maximum(support, 1))


def _best(f1: np.ndarray, true: np.ndarray, prob: np.ndarray) -> tuple[float, float]:
    """Return the threshold with the highest smoothed F1, and that F1, from F1 on the grid and its pairs (n,)."""
    jumps, steps = _steps(true, prob)
    if not steps.any():  # no film has the genre, or no threshold finds one
        return 0.5, 0.0
    half = _WINDOW // 2
    smooth = np.convolve(np.pad(np.nan_to_num(f1), half, mode="edge"), np.ones(_WINDOW) / _WINDOW, mode="valid")
    best = np.flatnonzero(smooth >= smooth.max() - 1e-12)
    threshold, reached = float(_GRID[best[len(best) // 2]]), float(smooth.max())  # the middle of a plateau
    least = steps.max() - float(_error(int(true.sum())))
    for halved in range(1, 25):  # then the window is narrower than the precision of float32
        if _f1(true, prob, threshold) >= least:
            break
        threshold, reached = _best_of_steps(jumps, steps, _WINDOW * _STEP / 2**halved)
    return threshold, reached


def _f1(true: np.ndarray, prob: np.ndarray, threshold: float) -> float:
    predicted = prob > threshold
    return float(2 * (predicted & true).sum() / max(predicted.sum() + true.sum(), 1))


def _steps(true: np.ndarray, prob: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return F1 as a step function of the threshold: the log-odds where it jumps, descending, and F1 below each."""
    order = np.argsort(-prob)
    prob, hits = np.clip(prob[order], _LEAST, 1 - 1e-7), np.cumsum(true[order])
    last = np.flatnonzero(np.append(np.diff(prob) < 0, True))  # equal probabilities pass a threshold together
    last = last[prob[last] > _LEAST]  # no threshold is below 0
    return np.log(prob[last]) - np.log1p(-prob[last]), 2 * hits[last] / (last + 1 + hits[-1])


def _best_of_steps(jumps: np.ndarray, f1: np.ndarray, width: float) -> tuple[float, float]:
    """Return the same as `_best`, tried between the jumps, with a window of ``width`` in log-odds."""
    ends = np.append(jumps, jumps[-1] - 1)
    middles = (ends[:-1] + ends[1:]) / 2
    area = np.append(0, np.cumsum(f1 * (ends[:-1] - ends[1:])))  # from the highest jump down
    window = [np.interp(-(middles + side * width / 2), -ends, area) for side in (-1, 1)]
    smooth = (window[0] - window[1]) / width
    best = smooth.argmax()
    return float(1 / (1 + np.exp(-middles[best]))), float(smooth[best])
