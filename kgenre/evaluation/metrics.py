"""Multi-label metrics, exact over all films of an evaluation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from kgenre.evaluation.checked_arrays import checked_genres, checked_probabilities
from kgenre.evaluation.ranking import Ranking, label_ranking
from kgenre.evaluation.thresholds import Thresholds

CLIP = 1e-7  # keras.config.epsilon(), at which Keras's own binary cross-entropy clips probabilities
_BINS = 15  # of probabilities, for the calibration error; Guo et al.
# The metrics worth a curve or a row of a table; the others are only in metrics.json.
HEADLINE_METRICS: tuple[str, ...] = ("loss", "precision", "recall", "f1_micro", "f1_macro", "map", "roc_auc")
HEADLINE_METRICS += ("top3_hit", "ece", "tuned_f1_micro", "tuned_f1_macro")

Floats = npt.NDArray[np.float64]


def multilabel_metrics(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    threshold: float = 0.5,
    k: int = 3,
    thresholds: Thresholds | None = None,
) -> dict[str, float]:
    """Compute the metrics that a run reports, over all films at once: nothing is averaged over batches.

    A genre is predicted where its probability is above ``threshold`` (strictly, as in Keras). Genres that no
    film of the evaluation has are left out of the averages over genres, but count in metrics that pool all pairs: the
    network is trained on them too.

    All (film, genre) pairs pooled:

    - ``loss``: binary cross-entropy in nats, mean over films and genres, clipped at 1e-7 as in Keras.
    - ``precision``, ``recall``, ``f1_micro``; ``hamming_loss``: the share of pairs that are wrong.
    - ``ap_micro``, ``roc_auc_micro``: average precision and ROC AUC.
    - ``brier``: mean squared error of the probabilities; ``ece``: expected calibration error in 15 bins.

    Averages over genres:

    - ``f1_macro``; ``f1_weighted``: by the genre's number of films.
    - ``map``: average precision; ``roc_auc``: over genres that some, but not all films have. Neither needs a threshold.

    Averages over the films that have a genre:

    - ``f1_samples``: F1 of each film's genres.
    - ``lrap``: label-ranking average precision; ``coverage``: how many genres, best first, include all true ones.
    - ``top3_hit``: whether one of their k most probable genres is correct; ``top3_precision`` and ``top3_recall``: the
      correct ones among these k, as a share of k and of the film's genres (``top{k}_...``; ties go to the genre that
      comes first in the list).

    And ``subset_accuracy``: the share of films whose genres are all correct.

    With ``thresholds`` there are also ``tuned_precision``, ``tuned_recall``, ``tuned_f1_micro``, ``tuned_f1_macro``
    and ``tuned_f1_samples`` at the one threshold tuned for all genres, and ``per_genre_tuned_...`` at each genre's own.

    ``precision`` is 0 when nothing is predicted, as in Keras and scikit-learn. When no film has any genre,
    metrics that need one are NaN.

    Args:
        y_true: (n, G), 0 or 1 or bool, without padding rows.
        y_prob: (n, G) probabilities in [0, 1], columns in the same order.
        threshold: probability above which a genre is predicted, in [0, 1).
        k: how many of the most probable genres ``top{k}_...`` look at, at least 1; all of them where G < k.
        thresholds: from `tune_thresholds` on validation films.

    Raises:
        ValueError: shapes differ or are not (n, G); no film; a NaN; ``y_true`` not 0/1; ``y_prob`` outside
            [0, 1]; ``threshold`` or ``k`` out of range; not as many ``thresholds`` as genres.

    Example:
        >>> metrics = multilabel_metrics(np.array([[1, 0], [0, 1]]), np.array([[0.8, 0.3], [0.1, 0.4]]))
        >>> metrics["precision"], metrics["recall"], metrics["map"]
        (1.0, 0.5, 1.0)
    """
    metrics = weighted_metrics(y_true, y_prob, None, threshold, k, thresholds)
    return {name: float(value[0]) for name, value in metrics.items()}


def weighted_metrics(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    counts: npt.NDArray[np.integer] | None,
    threshold: float = 0.5,
    k: int = 3,
    thresholds: Thresholds | None = None,
    pooled: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Floats]:
    """Compute the metrics of `multilabel_metrics` for films that count more than once or not at all.

    Each film's contribution to a metric is computed once, and the films are sorted once: a round is then a weighted
    sum.

    Args:
        y_true: (n, G), as in `multilabel_metrics`.
        y_prob: (n, G).
        counts: (rounds, n), how often film i counts in round r; None: one round, in which each counts once.
        threshold: as in `multilabel_metrics`.
        k: as there.
        thresholds: as there.
        pooled: whether to compute ``ap_micro`` and ``roc_auc_micro``, which take half of the time.
        on_progress: called with (rankings scored, all rankings), which take most of the time.

    Returns:
        Each metric, (rounds,).
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold must be at least 0 and below 1. Received: threshold={threshold}.")
    if k < 1:
        raise ValueError(f"k must be at least 1: it counts the most probable genres. Received: k={k}.")
    true = checked_genres(y_true)
    prob = checked_probabilities(y_prob, true.shape)
    genres = true.shape[1]
    if thresholds is not None and len(thresholds.per_genre) != genres:
        raise ValueError(f"thresholds must be for {genres} genres. Received: {len(thresholds.per_genre)}.")
    counts = np.ones((1, len(true)), np.int64) if counts is None else counts

    chosen = {"": prob > threshold}
    if thresholds is not None:
        chosen["tuned_"] = prob > thresholds.overall
        chosen["per_genre_tuned_"] = prob > np.array(thresholds.per_genre)
    size = true.sum(axis=1)
    has_genre = size > 0
    top = np.argsort(-prob, axis=1, kind="stable")[:, :k]
    right = np.take_along_axis(true, top, axis=1).sum(axis=1)
    precision, coverage = label_ranking(true, prob)
    per_film = {  # each film's contribution to the sum
        "loss": binary_crossentropy(true, prob).sum(axis=1),
        "brier": ((prob - true) ** 2).sum(axis=1),
        "wrong": (chosen[""] != true).sum(axis=1),
        "exact": (chosen[""] == true).all(axis=1),
        "has_genre": has_genre,
        "lrap": np.where(has_genre, precision, 0),
        "coverage": coverage,
        "hit": right > 0,
        "right_of_k": right / top.shape[1],
        "right_of_film": right / np.maximum(size, 1),
    }
    per_genre = {"support": true}  # each film's contribution to the counts (G,)
    for prefix, predicted in chosen.items():
        denominator = np.maximum(predicted.sum(axis=1) + size, 1)
        per_film[f"{prefix}f1"] = np.where(has_genre, 2 * (predicted & true).sum(axis=1) / denominator, 0)
        per_genre |= {f"{prefix}predicted": predicted, f"{prefix}hits": predicted & true}
    parts = {name: np.asarray(values, float)[:, None] for name, values in per_film.items()}
    parts |= per_genre | {"gaps": _bin_gaps(true, prob)}
    cuts = np.cumsum([part.shape[1] for part in parts.values()])[:-1]
    summed = counts.astype(np.float64) @ np.concatenate(list(parts.values()), axis=1, dtype=np.float64)
    sums = dict(zip(parts, np.split(summed, cuts, axis=1), strict=True))  # (rounds, G)
    sums |= {name: sums[name][:, 0] for name in per_film}  # (rounds,)

    films, with_genre = counts.sum(axis=1), sums["has_genre"]
    pairs = films * genres
    rankings = {("map", "roc_auc"): Ranking(true, prob)}
    if pooled:
        rankings["ap_micro", "roc_auc_micro"] = Ranking(true, prob, pooled=True)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 is the documented NaN
        metrics = {"loss": sums["loss"] / pairs, **_decisions("", sums)}
        metrics |= {"hamming_loss": sums["wrong"] / pairs, "subset_accuracy": sums["exact"] / films}
        for done, (names, ranking) in enumerate(rankings.items()):
            of_rounds = []
            for films_drawn in counts:
                of_rounds.append(ranking.scores(films_drawn))
                if on_progress:
                    on_progress(done * len(counts) + len(of_rounds), len(rankings) * len(counts))
            scores = map(np.array, zip(*of_rounds, strict=True))  # (rounds, G), pooled (rounds, 1)
            metrics |= dict(zip(names, map(mean_of_present, scores), strict=True))
        metrics |= {
            "lrap": sums["lrap"] / with_genre,
            "coverage": sums["coverage"] / with_genre,
            f"top{k}_hit": sums["hit"] / with_genre,
            f"top{k}_precision": sums["right_of_k"] / with_genre,
            f"top{k}_recall": sums["right_of_film"] / with_genre,
            "brier": sums["brier"] / pairs,
            "ece": np.abs(sums["gaps"]).sum(axis=1) / pairs,
        }
        for prefix in list(chosen)[1:]:
            tuned = _decisions(prefix, sums)
            metrics |= {name: value for name, value in tuned.items() if not name.endswith("f1_weighted")}
    return metrics


def _decisions(prefix: str, sums: dict[str, Floats]) -> dict[str, Floats]:
    hits, predicted, support = (sums[name] for name in (f"{prefix}hits", f"{prefix}predicted", "support"))
    # Per genre 2 TP / (2 TP + FP + FN); the denominator is the number of predicted plus that of true films.
    f1 = np.where(support > 0, 2 * hits / (predicted + support), np.nan)
    found, there = hits.sum(axis=1), support.sum(axis=1)
    return {
        f"{prefix}precision": found / np.maximum(predicted.sum(axis=1), 1),
        f"{prefix}recall": found / there,
        f"{prefix}f1_micro": np.where(there > 0, 2 * found / (predicted.sum(axis=1) + there), np.nan),
        f"{prefix}f1_macro": mean_of_present(f1),
        f"{prefix}f1_weighted": (np.nan_to_num(f1) * support).sum(axis=1) / there,
        f"{prefix}f1_samples": sums[f"{prefix}f1"] / sums["has_genre"],
    }


def _bin_gaps(true: npt.NDArray[np.bool_], prob: npt.NDArray[np.float64]) -> Floats:
    """Return each film's contribution (n, bins) to sum(probability - truth) in each bin; lower edges are inclusive.

    The absolute sums over films, added up over the bins and divided by the number of pairs, are the expected
    calibration error (Guo et al., 2017, https://arxiv.org/abs/1706.04599), here over all pairs of film and genre.
    """
    gaps = np.zeros((len(prob), _BINS))
    bins = np.minimum((prob * _BINS).astype(np.intp), _BINS - 1)
    film = np.broadcast_to(np.arange(len(prob))[:, None], prob.shape)
    np.add.at(gaps, (film, bins), prob - true)
    return gaps


def binary_crossentropy(true: np.ndarray, prob: np.ndarray) -> Floats:
    """Return ``-log p`` for each pair whose film has the genre, else ``-log(1 - p)``, in nats."""
    right = np.where(true, prob, 1 - prob)
    return -np.log(np.clip(right, CLIP, 1 - CLIP))


def mean_of_present(values: Floats) -> Floats:
    """Average (rounds, G) over the genres that are not NaN: (rounds,); NaN without a warning if all are."""
    present = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(values).sum(axis=1) / present.sum(axis=1)
