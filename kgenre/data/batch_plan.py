"""Which films make up which batch of an epoch: NumPy only, a matter of (seed, epoch) and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Streams of random numbers of one (seed, epoch) that must not be the same numbers.
_ORDER, _AUGMENTATION = 0, 1


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


@dataclass(frozen=True, eq=False)
class Augmentation:
    """How the poster of every film of the table is changed in one epoch.

    Args:
        flips: bool (n,), mirrored left to right.
        shifts: int32 (n, 2), pixels down and to the right, of the flipped poster.
    """

    flips: npt.NDArray[np.bool_]
    shifts: npt.NDArray[np.int32]


def draw_augmentation(films: int, image_size: tuple[int, int], max_shift: float, seed: int, epoch: int) -> Augmentation:
    """Flips and shifts up to ``max_shift`` of the height and width, drawn for all films of the table.

    What a film gets depends on (seed, epoch, film) only, not on the batch it is in or on where a resume
    began.
    """
    generator = np.random.default_rng([seed, epoch, _AUGMENTATION])
    most = np.floor(np.array(image_size) * max_shift).astype(np.int64)
    flips = generator.random(films) < 0.5
    return Augmentation(flips, generator.integers(-most, most + 1, size=(films, 2), dtype=np.int32))
