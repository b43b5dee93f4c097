"""Whether a probability of 0.3 is right three times in ten."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BINS = 15  # Guo et al.


def bin_of(prob: npt.NDArray[np.float64], bins: int = BINS) -> npt.NDArray[np.intp]:
    """The bin of each probability, 0 to ``bins - 1``; a bin holds its lower edge."""
    return np.minimum((prob * bins).astype(np.intp), bins - 1)


def bin_gaps(true: npt.NDArray[np.bool_], prob: npt.NDArray[np.float64], bins: int = BINS) -> npt.NDArray[np.float64]:
    """Each film's part (n, bins) of sum(probability - truth) in each bin.

    Summed over films, made absolute and divided by the number of pairs they give the expected calibration error (Guo et
    al., 2017, https://arxiv.org/abs/1706.04599), here over all pairs of film and genre.
    """
    gaps = np.zeros((len(prob), bins))
    film = np.broadcast_to(np.arange(len(prob))[:, None], prob.shape)
    np.add.at(gaps, (film, bin_of(prob, bins)), prob - true)
    return gaps
