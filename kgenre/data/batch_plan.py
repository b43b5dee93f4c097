"""Which films make up which batch of an epoch: NumPy only, a matter of (seed, epoch) and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Streams of random numbers of one (seed, epoch) that must not be the same numbers.
_ORDER, AUGMENTATION = 0, 1


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """One epoch.

    Args:
        rows: int32 (batches, B), the rows of the film table in each batch.
        weights: float32 (batches, B), 1, and 0 where a row only fills the last batch up.
    """

    rows: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]


def plan_batches(rows: npt.NDArray[np.integer], batch_size: int, shuffle: bool, seed: int, epoch: int) -> BatchPlan:
    """Each of ``rows`` once, in a true permutation that (seed, epoch) gives, or in order; then filled up.

    The last batch is filled with films from the epoch's beginning, so that all batches have one shape and
    nothing is compiled twice.

    Example:
        >>> plan_batches(np.arange(5), batch_size=3, shuffle=False, seed=0, epoch=0).rows
        array([[0, 1, 2],
               [3, 4, 0]], dtype=int32)
    """
    if shuffle:
        rows = np.random.default_rng([seed, epoch, _ORDER]).permutation(rows)
    batches = -(-len(rows) // batch_size)
    weights = np.arange(batches * batch_size) < len(rows)
    shape = (batches, batch_size)
    filled = np.resize(np.asarray(rows, np.int32), batches * batch_size)
    return BatchPlan(filled.reshape(shape), weights.reshape(shape).astype(np.float32))
