"""Reading several elements of a tf.data dataset at a time yields the same as reading them one by one."""

import itertools

import keras
import numpy as np
import pytest

from kgenre.kernels.read_at_once import read_at_once

tf = pytest.importorskip("tensorflow")
ROWS = np.arange(22, dtype="float32").reshape(11, 2)


def bucketed():
    """A dataset whose widths differ from batch to batch."""
    spec = {"words": tf.TensorSpec((None, None), tf.int32), "title": tf.TensorSpec((None,), tf.string)}

    def batches():
        for i in range(7):
            yield {"words": np.full((3, 1 + i % 3), i), "title": [f"film {i}"] * 3}

    return tf.data.Dataset.from_generator(batches, output_signature=spec)


DATASETS = {
    "whole batches": lambda: tf.data.Dataset.from_tensor_slices((ROWS, ROWS[:, 0])).batch(2, drop_remainder=True),
    "a last one that is smaller": lambda: tf.data.Dataset.from_tensor_slices({"x": ROWS, "y": ROWS > 3}).batch(4),
    "a tuple of one": lambda: tf.data.Dataset.from_tensor_slices((ROWS,)).batch(4),
    "an array": lambda: tf.data.Dataset.from_tensor_slices(ROWS).batch(4),
    "numbers": lambda: tf.data.Dataset.range(5),
    "buckets": bucketed,
    "ragged": lambda: tf.data.Dataset.from_tensor_slices(tf.ragged.constant([[1], [2, 3], [4]] * 4)).batch(2),
}


@pytest.mark.parametrize("limit", [None, 3])
@pytest.mark.parametrize("count", [2, 4, 50])
@pytest.mark.parametrize("name", DATASETS)
def test_same_elements(name, count, limit):
    dataset = DATASETS[name]()
    expected = list(itertools.islice(dataset.as_numpy_iterator(), limit))
    found = list(read_at_once(dataset, count, limit))
    assert len(found) == len(expected) > 2
    for one, other in zip(found, expected, strict=True):
        if name == "ragged":
            assert str(one) == str(other)
            continue
        keras.tree.assert_same_structure(one, other)
        for a, b in zip(keras.tree.flatten(one), keras.tree.flatten(other), strict=True):
            assert np.asarray(a).dtype == np.asarray(b).dtype
            np.testing.assert_array_equal(a, b)


def test_nothing_beyond_the_limit_is_read():
    read = []

    def batches():
        for i in range(10):
            read.append(i)
            yield np.full(2, i, "float32")

    dataset = tf.data.Dataset.from_generator(batches, output_signature=tf.TensorSpec((2,), tf.float32))
    assert len(list(read_at_once(dataset, 4, limit=5))) == 5
    assert read == [0, 1, 2, 3, 4]
