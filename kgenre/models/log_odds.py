"""Probabilities as log-odds, and how often each genre occurs."""

from __future__ import annotations

from typing import Any

import numpy as np


def log_odds(probabilities: Any) -> Any:
    """Return ``log(p / (1 - p))`` of a tensor of any shape, finite for 0 and 1 too: p is clipped 1e-7 from both."""
    from keras import ops

    p = ops.clip(probabilities, 1e-7, 1 - 1e-7)
    return ops.log(p) - ops.log(1 - p)


def frequencies(genres: np.ndarray) -> np.ndarray:
    """Return the share of films with each genre, ``(count + 1/2) / (n + 1)``, float32 (G,): never 0 or 1.

    Args:
        genres: (n, G), 0 or 1.

    Example:
        >>> frequencies(np.array([[1, 0], [1, 0], [0, 0]]))
        array([0.625, 0.125], dtype=float32)
    """
    return ((genres.sum(axis=0) + 0.5) / (len(genres) + 1)).astype(np.float32)


def prior_log_odds(genres: np.ndarray) -> np.ndarray:
    """Return the log-odds of the `frequencies` of (n, G) genres, float32 (G,): the prediction before seeing a film.

    Example:
        >>> prior_log_odds(np.array([[1, 0], [1, 0], [0, 0]])).round(2)
        array([ 0.51, -1.95], dtype=float32)
    """
    share = frequencies(genres)
    return np.log(share / (1 - share))
