"""How much faster: the ratio of two medians, with its interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_DRAWS = 10_000


def ratio_with_interval(values: Sequence[float], base: Sequence[float]) -> tuple[float, float, float]:
    """Return the ratio of two medians and its bootstrap 95% interval.

    Rounds are drawn in pairs: a busy moment of the machine affected both.

    Args:
        values: one value for each round.
        base: the values of the same rounds to divide by.
    """
    a, b = np.asarray(values), np.asarray(base)
    drawn = np.random.default_rng(0).integers(0, len(a), (_DRAWS, len(a)))
    ratios = np.median(a[drawn], axis=1) / np.median(b[drawn], axis=1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(np.median(a) / np.median(b)), float(low), float(high)
