"""Plan which films are in which batch of an epoch: in NumPy only, determined by (seed, epoch) alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Independent streams of random numbers for one (seed, epoch).
_ORDER, AUGMENTATION, _BATCH_ORDER = 0, 1, 2
_WIDTH_STEP = 4  # tokens; fewer distinct widths mean fewer programs to compile
_DEVICE_MULTIPLE = 48  # smaller batches still divide among 2, 3, 4, 6, 8, 12, 16, ... devices
_BATCHES_PER_BUCKET = 8  # with fewer, a narrower program saves less time than it takes to compile


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """The batches of one epoch.

    Args:
        rows: int32 (batches, B), the rows of the film table in each batch.
        weights: float32 (batches, B), 1, or 0 for rows that only pad a batch.
        widths: int32 (batches,), the number of tokens to which each batch's overviews are padded; None for the table's.
    """

    rows: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]
    widths: npt.NDArray[np.int32] | None = None


@dataclass(frozen=True, eq=False)
class LengthBuckets:
    """Buckets of films with overviews of similar length.

    Args:
        lengths: int32 (n,), tokens of each film of the table.
        widths: the few lengths that overviews are padded to, ascending; the last fits the longest.
    """

    lengths: npt.NDArray[np.int32]
    widths: tuple[int, ...]

    @classmethod
    def choose(
        cls, lengths: npt.NDArray[np.int32], rows: npt.NDArray[np.integer], batch_size: int, most: int, width: int
    ) -> LengthBuckets | None:
        """Choose at most ``most`` widths, each for an equal share of the films ``rows``; None if one is enough.

        ``width`` is the table's width, the largest possible.
        """
        buckets = min(most, -(-len(rows) // batch_size) // _BATCHES_PER_BUCKET)
        if buckets < 2:
            return None
        shares = np.quantile(lengths[rows], np.arange(1, buckets) / buckets, method="higher")
        inner = {min(width, -(-int(share) // _WIDTH_STEP) * _WIDTH_STEP) for share in shares}
        widths = tuple(sorted({*inner, width}))
        return cls(lengths, widths) if len(widths) > 1 else None


def plan_batches(
    rows: npt.NDArray[np.integer],
    batch_size: int,
    shuffle: bool,
    seed: int,
    epoch: int,
    buckets: LengthBuckets | None = None,
    drop_remainder: bool = False,
) -> BatchPlan:
    """Plan an epoch with each of ``rows`` once, in order or in a true permutation determined by (seed, epoch).

    The last batch is padded with films from the epoch's beginning, so that all batches have one shape and nothing is
    compiled twice. With ``buckets`` a batch has films of similar length: those left over from the full batches of a
    bucket go to the next wider one, so that there are as many batches as without buckets, and at most one of them is
    padded. With ``shuffle`` the batches are then shuffled too.

    With ``drop_remainder`` that one batch is left out instead: len(rows) // batch_size batches remain, with all weights
    1. With ``shuffle`` different films are left out in each epoch, with ``buckets`` always some of the longest.

    Example:
        >>> plan_batches(np.arange(5), batch_size=3, shuffle=False, seed=0, epoch=0).rows
        array([[0, 1, 2],
               [3, 4, 0]], dtype=int32)
    """
    rows = np.asarray(rows, np.int32)
    if shuffle:
        rows = np.random.default_rng([seed, epoch, _ORDER]).permutation(rows)
    batches = batches_of(len(rows), batch_size, drop_remainder)
    weights = (np.arange(batches * batch_size) < len(rows)).reshape(batches, batch_size).astype(np.float32)
    if buckets is None:
        return BatchPlan(np.resize(rows, weights.shape), weights)
    planned, widths = [], []
    bucket_of = np.searchsorted(buckets.widths, buckets.lengths[rows])
    left = rows[:0]
    for bucket, width in enumerate(buckets.widths):
        left = np.concatenate([left, rows[bucket_of == bucket]])
        last = bucket + 1 == len(buckets.widths)
        count = batches_of(len(left), batch_size, drop_remainder or not last)
        planned.append(np.resize(left, (count, batch_size)))
        widths += [width] * count
        left = left[count * batch_size :]
    order = np.arange(batches)
    if shuffle:
        order = np.random.default_rng([seed, epoch, _BATCH_ORDER]).permutation(batches)
    return BatchPlan(np.concatenate(planned)[order], weights[order], np.array(widths, np.int32)[order])


def batches_of(films: int, batch_size: int, drop_remainder: bool) -> int:
    """The number of batches of ``films`` films; one that is not full counts unless it is dropped."""
    return films // batch_size if drop_remainder else -(-films // batch_size)


def rows_of_batches(films: int, batch_size: int) -> int:
    """The number of rows in each batch: ``batch_size``, or less if there are too few films to fill a batch.

    A number of devices that divides 48 and ``batch_size`` divides the smaller batch too. The actual number of devices
    is not used, as it must not change what is computed.

    Example:
        >>> rows_of_batches(43, batch_size=32), rows_of_batches(43, batch_size=200)
        (32, 48)
    """
    part = math.gcd(batch_size, _DEVICE_MULTIPLE)
    return min(batch_size, max(1, -(-films // part)) * part)
