"""Validation of the metrics' inputs: truth of 0 and 1, probabilities without NaN; anything else is a ValueError."""

from __future__ import annotations

import numpy as np


def checked_genres(y_true: np.ndarray) -> np.ndarray:
    """Return ``y_true`` as (n, G) bool, or raise a ValueError that says what is wrong with it."""
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
    """Return ``y_prob`` as float64, or raise a ValueError that says what is wrong with it."""
    prob = np.asarray(y_prob, dtype=np.float64)
    if prob.shape != shape:
        raise ValueError(f"y_prob must have y_true's shape {shape}. Received: shape {prob.shape}.")
    if np.isnan(prob).any():
        films = np.isnan(prob).any(axis=1)
        raise ValueError(
            f"The probabilities (y_prob) of {films.sum()} of {len(prob)} films are NaN, first in row {films.argmax()}: "
            "the model has diverged (try a lower learning rate), or its input holds NaN."
        )
    if prob.min() < 0 or prob.max() > 1:
        raise ValueError(
            f"y_prob must hold probabilities in [0, 1]; logits need a sigmoid first. "
            f"Received: values from {prob.min():.4g} to {prob.max():.4g}."
        )
    return prob
