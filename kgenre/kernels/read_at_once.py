"""Reads a `tf.data.Dataset` into NumPy in groups: each call into TensorFlow costs as much as a short training step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras


def read_at_once(dataset: Any, count: int, limit: int | None = None) -> Iterator[Any]:
    """Yield the elements of a dataset one by one, in order, fetched from TensorFlow ``count`` at a time.

    Args:
        dataset: a ``tf.data.Dataset``. One with ragged or sparse tensors is read element by element.
        count: elements per fetch. Where their shapes differ (the last batch, length buckets), they are padded for the
            transfer and then cut back.
        limit: most elements to read; None: all.

    Returns:
        Structures of NumPy arrays, which are read-only views.
    """
    import tensorflow as tf

    if limit is not None:
        dataset = dataset.take(limit)
    spec = dataset.element_spec
    leaves = keras.tree.flatten(spec)
    if not all(isinstance(leaf, tf.TensorSpec) and leaf.shape.rank is not None for leaf in leaves):
        yield from dataset.as_numpy_iterator()
        return

    def with_shapes(*element: Any) -> tuple[Any, tuple[Any, ...]]:
        element = element if isinstance(spec, tuple) else element[0]  # `map` unpacks tuples
        return element, tuple(tf.shape(leaf) for leaf in keras.tree.flatten(element))

    groups: Iterable[tuple[Any, Any]]  # padded arrays, and their rows' own shapes; None: all the same
    if all(leaf.shape.is_fully_defined() for leaf in leaves):
        groups = ((group, None) for group in dataset.batch(count).as_numpy_iterator())
    else:
        groups = dataset.map(with_shapes).padded_batch(count).as_numpy_iterator()
    for group, shapes in groups:
        padded = keras.tree.flatten(group)
        rows: list[Sequence[Any]] = list(zip(*padded, strict=True))
        if shapes is not None and any((s != leaf.shape[1:]).any() for leaf, s in zip(padded, shapes, strict=True)):
            cuts = zip(*([tuple(map(slice, shape)) for shape in each] for each in shapes), strict=True)
            rows = [[leaf[cut] for leaf, cut in zip(*pair, strict=True)] for pair in zip(rows, cuts, strict=True)]
        for row in rows:
            yield keras.tree.pack_sequence_as(spec, row)
