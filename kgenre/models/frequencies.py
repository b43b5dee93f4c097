"""How often each genre occurs."""

from __future__ import annotations

import numpy as np


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
