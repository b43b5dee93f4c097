"""How often each genre is met."""

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
