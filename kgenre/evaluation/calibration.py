"""Whether a probability of 0.3 is right three times in ten."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BINS = 15  # Guo et al.


def bin_gaps(true: npt.NDArray[np.bool_], prob: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each film's part (n, BINS) of sum(probability - truth) in each bin, which holds its lower edge.

    Summed over films, made absolute and divided by the number of pairs they give the expected calibration error (Guo et
    al., 2017, https://arxiv.org/abs/1706.04599), here over all pairs of film and genre.
    """
    gaps = np.zeros((len(prob), BINS))
    bins = np.minimum((prob * BINS).astype(np.intp), BINS - 1)
    film = np.broadcast_to(np.arange(len(prob))[:, None], prob.shape)
    np.add.at(gaps, (film, bins), prob - true)
    return gaps
