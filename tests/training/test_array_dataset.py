"""`ArrayDataset`: batches of arrays."""

from collections import namedtuple

import numpy as np
import pytest

from kgenre import ArrayDataset
from kgenre.engines import random_state

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [4, 4, 2]), (True, [4, 4])])
def test_batch_sizes(drop_last, sizes):
    data = ArrayDataset(np.arange(10), batch_size=4, drop_last=drop_last)
    assert [len(batch) for batch in data] == sizes
    assert len(data) == len(sizes)


@pytest.mark.parametrize("kind", [dict, tuple, list])
def test_structures_are_kept(kind):
    a, b = np.arange(6), np.arange(12).reshape(6, 2)
    arrays = {"a": a, "b": b} if kind is dict else kind([a, b])
    batch = next(iter(ArrayDataset(arrays, batch_size=4)))
    assert type(batch) is kind
    parts = list(batch.values()) if kind is dict else batch
    np.testing.assert_array_equal(parts[0], a[:4])
    np.testing.assert_array_equal(parts[1], b[:4])


def test_named_tuple_is_kept():
    Pair = namedtuple("Pair", ["x", "y"])
    batch = next(iter(ArrayDataset(Pair(np.arange(6), np.arange(6) ** 2), batch_size=4)))
    assert type(batch) is Pair
    assert batch.y.tolist() == [0, 1, 4, 9]


def test_series_is_indexed_by_position():
    """Pandas indexes by label, and after sorting or splitting a frame the labels no longer match the positions."""

    class Series:
        shape = (6,)

        def __init__(self, values, labels):
            self.values, self.labels = np.asarray(values), list(labels)

        def __len__(self):
            return len(self.values)

        def __getitem__(self, rows):
            return self.values[rows] if isinstance(rows, slice) else self.values[[self.labels.index(r) for r in rows]]

        def to_numpy(self):
            return self.values

    x = np.arange(6)
    data = ArrayDataset({"x": x, "y": Series(x**2, labels=[5, 4, 3, 2, 1, 0])}, batch_size=4, shuffle=True)
    for batch in data:
        np.testing.assert_array_equal(batch["y"], batch["x"] ** 2)


def test_order_depends_only_on_seed_and_epoch():
    def order(seed, epoch, start=0):
        data = ArrayDataset(np.arange(20), batch_size=6, shuffle=True, seed=seed)
        return np.concatenate(list(data.epoch_batches(epoch, start))).tolist()

    assert order(0, 3) == order(0, 3)
    assert sorted(order(0, 3)) == list(range(20))
    assert order(0, 3) != order(0, 4) != order(1, 4)
    assert order(0, 3, start=2) == order(0, 3)[12:]


@pytest.mark.parametrize("given", [None, 3])
def test_without_a_seed_the_order_is_that_of_seed_everything(monkeypatch, given):
    def order(**seed):
        return np.concatenate(list(ArrayDataset(np.arange(20), shuffle=True, **seed))).tolist()

    monkeypatch.setattr(random_state, "_global_seed", given)  # by `seed_everything`
    assert order() == order(seed=given or 0) != order(seed=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.arange(3), 0), "batch_size must be at least 1. Received: 0"),
        ((np.arange(0), 1), "at least 1. Received lengths: {0}"),
        (({"a": np.arange(3), "b": np.arange(4)}, 1), "same number of rows.*{3, 4}"),
        ((np.float32(2), 1), "arrays must hold arrays only"),
        (({"a": [1.5, 2.5]}, 1), r"arrays must hold arrays only. Received: 1.5. .* np.array"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ArrayDataset(*arguments)
