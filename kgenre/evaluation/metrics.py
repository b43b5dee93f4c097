"""Multi-label metrics, exact over all films of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kgenre.evaluation.average_precision import average_precision

CLIP = 1e-7  # keras.config.epsilon(): what Keras's own binary cross-entropy clips probabilities at


def multilabel_metrics(y_true: np.ndarray, y_prob: np.ndarray, threshold: float = 0.5, k: int = 3) -> dict[str, float]:
    """Compute the numbers that a run reports, over all films at once: nothing is averaged over batches.

    A genre is predicted where its probability is above ``threshold`` (strictly, as in Keras). Genres that no
    film of the evaluation has are left out of the averages over genres (see `genres_without_positives`), but
    they count in ``loss``: the network is trained on them too.

    - ``loss``: binary cross-entropy in nats, mean over films and genres, clipped at 1e-7 as in Keras.
    - ``precision``, ``recall``, ``f1_micro``: all (film, genre) pairs pooled.
    - ``f1_macro``: F1 of each genre, averaged over genres.
    - ``map``: average precision of each genre, averaged over genres; needs no threshold.
    - ``top3_hit``: share of the films with a genre that have one of their k most probable genres
      (``top{k}_hit``; of equal probabilities the genre that comes first in the list wins).

    ``precision`` is 0 when nothing is predicted, as in Keras and scikit-learn. When no film has any genre,
    what depends on having one (all but ``loss`` and ``precision``) is NaN.

    Args:
        y_true: (n, G), 0 or 1 or bool; leave padding rows out before.
        y_prob: (n, G) probabilities in [0, 1], columns in the same order.
        threshold: probability above which a genre is predicted, in [0, 1).
        k: how many of the most probable genres ``top{k}_hit`` looks at, at least 1; all of them where G < k.

    Raises:
        ValueError: shapes differ or are not (n, G); no film; a NaN; ``y_true`` not 0/1; ``y_prob`` outside
            [0, 1]; ``threshold`` or ``k`` out of range.

    Example:
        >>> metrics = multilabel_metrics(np.array([[1, 0], [0, 1]]), np.array([[0.8, 0.3], [0.1, 0.4]]))
        >>> metrics["precision"], metrics["recall"], metrics["map"]
        (1.0, 0.5, 1.0)
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold is a probability, 0 <= threshold < 1. Received: threshold={threshold}.")
    if k < 1:
        raise ValueError(f"k counts the most probable genres and must be at least 1. Received: k={k}.")
    true = checked_genres(y_true)
    prob = checked_probabilities(y_prob, true.shape)

    predicted = prob > threshold
    hits = (true & predicted).sum(axis=0)  # (G,)
    support = true.sum(axis=0)
    # Per genre 2 TP / (2 TP + FP + FN): its denominator is what is predicted plus what is there.
    f1_denominator = predicted.sum(axis=0) + support
    present = support > 0
    with_genre = true.any(axis=1)
    top = np.argsort(-prob, axis=1, kind="stable")[:, :k]
    hit = np.take_along_axis(true, top, axis=1).max(axis=1)

    return {
        "loss": binary_crossentropy(true, prob),
        "precision": float(hits.sum() / max(predicted.sum(), 1)),
        "recall": ratio(hits.sum(), support.sum()),
        "f1_micro": ratio(2 * hits.sum(), f1_denominator.sum() if present.any() else 0),
        "f1_macro": mean(2 * hits[present] / f1_denominator[present]),
        "map": mean(average_precision(true[:, present], prob[:, present])),
        f"top{k}_hit": mean(hit[with_genre]),
    }


def genres_without_positives(y_true: np.ndarray, names: Sequence[str]) -> list[str]:
    """Name the genres that no film has; averages over genres leave them out and a report must say so.

    Args:
        y_true: (n, G), 0 or 1 or bool.
        names: the G genres in the order of the columns.

    Raises:
        ValueError: as many names as columns are needed; and see `multilabel_metrics`.

    Example:
        >>> genres_without_positives(np.array([[1, 0], [1, 0]]), ["Drama", "News"])
        ['News']
    """
    true = checked_genres(y_true)
    if len(names) != true.shape[1]:
        raise ValueError(
            f"names must have one name per column of y_true. "
            f"Received: {len(names)} names, y_true of shape {true.shape}."
        )
    return [name for name, present in zip(names, true.sum(axis=0), strict=True) if not present]


def binary_crossentropy(true: np.ndarray, prob: np.ndarray) -> float:
    """Average ``-log p`` where the genre is there and ``-log(1 - p)`` where it is not, in nats."""
    right = np.where(true, prob, 1 - prob)
    return float(-np.log(np.clip(right, CLIP, 1 - CLIP)).mean())


def ratio(part: int, whole: int) -> float:
    """Divide ``part`` by ``whole``; NaN for a whole of 0."""
    return float(part / whole) if whole else float("nan")


def mean(values: np.ndarray) -> float:
    """Average ``values``; NaN, and no warning, for none."""
    return float(values.mean()) if values.size else float("nan")


def checked_genres(y_true: np.ndarray) -> np.ndarray:
    """Return ``y_true`` as (n, G) bool, or say in a ValueError what is wrong with it."""
    true = np.asarray(y_true)
    if true.ndim != 2 or 0 in true.shape:
        raise ValueError(
            f"y_true must have the shape (films, genres), at least one of each. Received: shape {true.shape}."
        )
    odd = ~np.isin(true, (0, 1))
    if odd.any():
        raise ValueError(
            f"y_true must hold 0 or 1 only. Received: {true[odd][0]} and {odd.sum() - 1} more such values."
        )
    return true.astype(bool)


def checked_probabilities(y_prob: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return ``y_prob`` as float64, or say in a ValueError what is wrong with it."""
    prob = np.asarray(y_prob, dtype=np.float64)
    if prob.shape != shape:
        raise ValueError(f"y_prob must have y_true's shape {shape}. Received: shape {prob.shape}.")
    if np.isnan(prob).any():
        films = np.isnan(prob).any(axis=1)
        raise ValueError(
            f"y_prob has NaN in {films.sum()} of {len(prob)} films, first in row {films.argmax()}: the model "
            f"has diverged, or its input holds NaN."
        )
    if prob.min() < 0 or prob.max() > 1:
        raise ValueError(
            f"y_prob must hold probabilities in [0, 1]; logits need a sigmoid first. "
            f"Received: values from {prob.min():.4g} to {prob.max():.4g}."
        )
    return prob
