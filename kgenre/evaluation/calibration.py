"""Calibration: whether a probability of 0.3 is right three times in ten."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BINS = 15  # Guo et al.


def bin_gaps(true: npt.NDArray[np.bool_], prob: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return each film's contribution (n, BINS) to sum(probability - truth) in each bin; lower edges are inclusive.

    The absolute sums over films, added up over the bins and divided by the number of pairs, are the expected
    calibration error (Guo et al., 2017, https://arxiv.org/abs/1706.04599), here over all pairs of film and genre.
    """
    gaps = np.zeros((len(prob), BINS))
    bins = np.minimum((prob * BINS).astype(np.intp), BINS - 1)
    film = np.broadcast_to(np.arange(len(prob))[:, None], prob.shape)
    np.add.at(gaps, (film, bins), prob - true)
    return gaps
