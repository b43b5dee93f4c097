"""Multi-label metrics, exact over all films of an evaluation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kgenre.evaluation.calibration import bin_gaps
from kgenre.evaluation.checked_arrays import checked_genres, checked_probabilities
from kgenre.evaluation.label_ranking import label_ranking
from kgenre.evaluation.ranking import Ranking
from kgenre.evaluation.thresholds import Thresholds

CLIP = 1e-7  # keras.config.epsilon(), at which Keras's own binary cross-entropy clips probabilities
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
    metrics = MetricsOfResamples(y_true, y_prob, threshold, k, thresholds)
    return {name: float(value[0]) for name, value in metrics(np.ones((1, metrics.films))).items()}


class MetricsOfResamples:
    """Computes the metrics of `multilabel_metrics` for films that count more than once or not at all.

    Each film's contribution to a metric is computed once, and the films are sorted once: a resample is then a weighted
    sum. `bootstrap_metrics` draws the weights.

    Args:
        y_true, y_prob, threshold, k, thresholds: as in `multilabel_metrics`.
        pooled: whether to compute ``ap_micro`` and ``roc_auc_micro``, which take half of the time.
    """

    def __init__(
        self,
        y_true: np.ndarray,
        y_prob: np.ndarray,
        threshold: float = 0.5,
        k: int = 3,
        thresholds: Thresholds | None = None,
        pooled: bool = True,
    ) -> None:
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold must be at least 0 and below 1. Received: threshold={threshold}.")
        if k < 1:
            raise ValueError(f"k must be at least 1: it counts the most probable genres. Received: k={k}.")
        true = checked_genres(y_true)
        prob = checked_probabilities(y_prob, true.shape)
        self.films, self.genres = true.shape
        if thresholds is not None and len(thresholds.per_genre) != self.genres:
            raise ValueError(f"thresholds must be for {self.genres} genres. Received: {len(thresholds.per_genre)}.")
        self._k = k
        self._rankings = {("map", "roc_auc"): Ranking(true, prob)}
        if pooled:
            self._rankings["ap_micro", "roc_auc_micro"] = Ranking(true, prob, pooled=True)

        chosen = {"": prob > threshold}
        if thresholds is not None:
            chosen["tuned_"] = prob > thresholds.overall
            chosen["per_genre_tuned_"] = prob > np.array(thresholds.per_genre)
        self._prefixes = list(chosen)
        count = true.sum(axis=1)
        has_genre = count > 0
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
            "right_of_film": right / np.maximum(count, 1),
        }
        per_genre = {"support": true}  # each film's contribution to the counts (G,)
        for prefix, predicted in chosen.items():
            denominator = np.maximum(predicted.sum(axis=1) + count, 1)
            per_film[f"{prefix}f1"] = np.where(has_genre, 2 * (predicted & true).sum(axis=1) / denominator, 0)
            per_genre |= {f"{prefix}predicted": predicted, f"{prefix}hits": predicted & true}
        gaps = bin_gaps(true, prob)
        self._columns = [*per_film, *per_genre, "gaps"]
        columns = [*(np.asarray(v, float)[:, None] for v in per_film.values()), *per_genre.values(), gaps]
        self._cuts = np.cumsum([column.shape[1] for column in columns])[:-1]
        self._parts = np.concatenate(columns, axis=1, dtype=np.float64)

    def __call__(self, weights: npt.NDArray[np.number]) -> dict[str, Floats]:
        """Return each metric (rounds,); film i counts ``weights[r, i]`` times in round r, weights are (rounds, n)."""
        weights = np.asarray(weights, np.float64)
        sums = dict(zip(self._columns, np.split(weights @ self._parts, self._cuts, axis=1), strict=True))
        films = weights.sum(axis=1)
        single = {name: values[:, 0] for name, values in sums.items() if values.shape[1] == 1}
        support = sums["support"]
        with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 is the documented NaN
            metrics = {"loss": single["loss"] / (films * self.genres)}
            metrics |= self._at("", sums, support, single)
            metrics |= {
                "hamming_loss": single["wrong"] / (films * self.genres),
                "subset_accuracy": single["exact"] / films,
                **self._ranked(weights),
                "lrap": single["lrap"] / single["has_genre"],
                "coverage": single["coverage"] / single["has_genre"],
                f"top{self._k}_hit": single["hit"] / single["has_genre"],
                f"top{self._k}_precision": single["right_of_k"] / single["has_genre"],
                f"top{self._k}_recall": single["right_of_film"] / single["has_genre"],
                "brier": single["brier"] / (films * self.genres),
                "ece": np.abs(sums["gaps"]).sum(axis=1) / (films * self.genres),
            }
            for prefix in self._prefixes[1:]:
                tuned = self._at(prefix, sums, support, single)
                metrics |= {name: value for name, value in tuned.items() if not name.endswith("f1_weighted")}
        return metrics

    def _ranked(self, weights: npt.NDArray[np.number]) -> dict[str, Floats]:
        metrics: dict[str, Floats] = {}
        for names, ranking in self._rankings.items():
            scores = map(np.array, zip(*map(ranking.scores, weights), strict=True))  # (rounds, G), pooled (rounds, 1)
            metrics |= dict(zip(names, map(mean_of_present, scores), strict=True))
        return metrics

    @staticmethod
    def _at(prefix: str, sums: dict[str, Floats], support: Floats, single: dict[str, Floats]) -> dict[str, Floats]:
        hits, predicted = sums[f"{prefix}hits"], sums[f"{prefix}predicted"]  # (rounds, G)
        # Per genre 2 TP / (2 TP + FP + FN); the denominator is the number of predicted plus that of true films.
        f1 = np.where(support > 0, 2 * hits / (predicted + support), np.nan)
        found, there = hits.sum(axis=1), support.sum(axis=1)
        return {
            f"{prefix}precision": found / np.maximum(predicted.sum(axis=1), 1),
            f"{prefix}recall": found / there,
            f"{prefix}f1_micro": np.where(there > 0, 2 * found / (predicted.sum(axis=1) + there), np.nan),
            f"{prefix}f1_macro": mean_of_present(f1),
            f"{prefix}f1_weighted": (np.nan_to_num(f1) * support).sum(axis=1) / there,
            f"{prefix}f1_samples": single[f"{prefix}f1"] / single["has_genre"],
        }


def binary_crossentropy(true: np.ndarray, prob: np.ndarray) -> Floats:
    """Return ``-log p`` for each pair whose film has the genre, else ``-log(1 - p)``, in nats."""
    right = np.where(true, prob, 1 - prob)
    return -np.log(np.clip(right, CLIP, 1 - CLIP))


def mean_of_present(values: Floats) -> Floats:
    """Average (rounds, G) over the genres that are not NaN: (rounds,); NaN without a warning if all are."""
    present = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(values).sum(axis=1) / present.sum(axis=1)
