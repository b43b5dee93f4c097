"""Which films make up which batch of an epoch: NumPy only, a matter of (seed, epoch) and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Streams of random numbers of one (seed, epoch) that must not be the same numbers.
_ORDER, AUGMENTATION, _BATCH_ORDER = 0, 1, 2
_WIDTH_STEP = 4  # tokens; fewer different widths, fewer programs to compile
_SHARED_BY = 48  # as many devices as divide this, 2, 3, 4, 6, 8, 12, 16, ..., share a smaller batch too
_BATCHES_PER_BUCKET = 8  # with fewer, what a narrower program saves does not pay for compiling it


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """One epoch.

    Args:
        rows: int32 (batches, B), the rows of the film table in each batch.
        weights: float32 (batches, B), 1, and 0 where a row only fills a batch up.
        widths: int32 (batches,), tokens of each batch's overviews; None where all have the table's.
    """

    rows: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]
    widths: npt.NDArray[np.int32] | None = None


@dataclass(frozen=True, eq=False)
class LengthBuckets:
    """Films by the length of their overviews.

    Args:
        lengths: int32 (n,), tokens of each film of the table.
        widths: the few lengths that overviews are padded to, ascending; the last holds the longest.
    """

    lengths: npt.NDArray[np.int32]
    widths: tuple[int, ...]

    @classmethod
    def choose(
        cls, lengths: npt.NDArray[np.int32], rows: npt.NDArray[np.integer], batch_size: int, most: int, width: int
    ) -> LengthBuckets | None:
        """At most ``most`` widths, so that each takes an equal part of the films ``rows``; None where one is enough.

        ``width`` is that of the table, the widest there is.
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
    """Each of ``rows`` once, in a true permutation that (seed, epoch) gives, or in order; then filled up.

    The last batch is filled with films from the epoch's beginning, so that all batches have one shape and
    nothing is compiled twice. With ``buckets`` a batch has films of like length: those that are left over when the
    batches of a bucket are full go to the next wider one, so that there are as many batches as without, and one of
    them at most is filled up; then the batches are shuffled too.

    With ``drop_remainder`` that one batch is left out instead: len(rows) // batch_size are left, all of weight 1. With
    ``shuffle`` it is other films in each epoch, with ``buckets`` always some of the widest.

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
    """How many batches some films make; one that is not full counts unless it is dropped."""
    return films // batch_size if drop_remainder else -(-films // batch_size)


def rows_of_batches(films: int, batch_size: int) -> int:
    """How many rows each batch has: ``batch_size``, or less where some would be filled up in every batch.

    What divides a batch into equal parts for several devices still does. Their number is not asked for, as it must not
    change what is computed.

    Example:
        >>> rows_of_batches(43, batch_size=32), rows_of_batches(43, batch_size=200)
        (32, 48)
    """
    part = math.gcd(batch_size, _SHARED_BY)
    return min(batch_size, -(-films // part) * part)
