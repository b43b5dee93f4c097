"""Batches from NumPy arrays in memory, without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

import numpy as np

from kgenre.engines.random_state import global_seed


class ArrayDataset:
    """Cuts arrays into batches; the order of an epoch is a permutation that depends only on (seed, epoch).

    Args:
        arrays: an array, or a dict, tuple or list of arrays, all with the same first axis; also pandas and polars
            frames and series (rows are taken by position), and a Hugging Face dataset ``with_format("numpy")``.
        batch_size: rows per batch.
        shuffle: use a different order in each epoch.
        seed: the seed of the order; None: that of `seed_everything`, wherever it is called (a resumed run keeps its
            own), or 0.
        drop_last: leave out the last batch if it is not full (one shape less to compile).

    Raises:
        ValueError: a batch size below 1, no rows, arrays of different lengths, or a list of values instead of an array.

    Example:
        >>> data = ArrayDataset({"x": np.zeros((10, 3), "float32")}, batch_size=4)
        >>> [batch["x"].shape for batch in data]
        [(4, 3), (4, 3), (2, 3)]
    """

    def __init__(
        self, arrays: Any, batch_size: int = 32, shuffle: bool = False, seed: int | None = None, drop_last: bool = False
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1. Received: {batch_size}")
        leaves = _leaves(arrays)
        if alone := [leaf for leaf in leaves if not _has_rows(leaf)]:
            raise ValueError(
                f"arrays must hold arrays only. Received: {alone[0]!r}. Convert a list of values with np.array([...])."
            )
        lengths = {len(leaf) for leaf in leaves}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"arrays must have the same number of rows, at least 1. Received lengths: {lengths}")
        self.arrays = _each(_by_position, arrays)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.rows = lengths.pop()

    def __len__(self) -> int:
        return self.rows // self.batch_size if self.drop_last else -(-self.rows // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        return self.epoch_batches(0)

    def epoch_batches(self, epoch: int, start_batch: int = 0) -> Iterator[Any]:
        """The batches of an epoch from ``start_batch`` on."""
        seed = (global_seed() or 0) if self.seed is None else self.seed
        order = np.random.default_rng([seed, epoch]).permutation(self.rows) if self.shuffle else None
        for batch in range(start_batch, len(self)):
            rows = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            yield _each(itemgetter(rows if order is None else order[rows]), self.arrays)


def _has_rows(leaf: Any) -> bool:
    return hasattr(leaf, "__len__") and getattr(leaf, "shape", None) != () and not isinstance(leaf, str)


def _leaves(arrays: Any) -> list[Any]:
    if isinstance(arrays, dict):
        return [leaf for value in arrays.values() for leaf in _leaves(value)]
    if isinstance(arrays, tuple | list):
        return [leaf for value in arrays for leaf in _leaves(value)]
    return [arrays]


def _by_position(leaf: Any) -> Any:
    """Convert a frame or series to a NumPy array: pandas would index it by label."""
    return leaf.to_numpy() if hasattr(leaf, "to_numpy") else leaf


def _each(function: Callable[[Any], Any], arrays: Any) -> Any:
    if isinstance(arrays, dict):
        return {key: _each(function, value) for key, value in arrays.items()}
    if isinstance(arrays, tuple | list):
        made = [_each(function, value) for value in arrays]
        return type(arrays)(*made) if hasattr(arrays, "_fields") else type(arrays)(made)  # _fields: a namedtuple
    return function(arrays)
