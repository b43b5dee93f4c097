"""Batches of films: a ``tf.data`` pipeline over a plan, with one gather per batch from tables in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kgenre.data.batch_plan import draw_augmentation, plan_batches

if TYPE_CHECKING:
    import tensorflow as tf


class FilmTensors:
    """The tables that batches are gathered from, handed to TensorFlow once and shared by all `FilmBatches`.

    Args:
        genres: uint8 or float32 (n, G).
        posters: uint8 (n, H, W, 3), or None for batches without ``poster``.
        overviews: int32 (n, T), or None for batches without ``overview``.
    """

    def __init__(
        self,
        genres: npt.NDArray[Any],
        posters: npt.NDArray[np.uint8] | None = None,
        overviews: npt.NDArray[np.int32] | None = None,
    ) -> None:
        from kgenre.data.tensorflow import tf

        arrays = {"poster": posters, "overview": overviews, "genres": genres.astype(np.float32)}
        with tf.device("CPU"):  # pixels stay in the host's memory; batches of them go to the device
            self.tables = {name: tf.convert_to_tensor(a) for name, a in arrays.items() if a is not None}

    def __len__(self) -> int:
        return len(self.tables["genres"])


class FilmBatches:
    """Batches of some films of a table; an `EpochBatches`.

    A batch is a dict of tensors: ``poster`` uint8 (B, H, W, 3), ``overview`` int32 (B, T), ``genres``
    float32 (B, G), ``index`` int32 (B), the row in the table, and ``weight`` float32 (B), 1, or 0 for the
    films that fill the last batch up. All batches of all epochs have the same shapes.

    Args:
        tensors: the films.
        rows: the rows of the table that these batches are about.
        batch_size: B.
        shuffle: each epoch in another order, given by (seed, epoch); else always in the order of ``rows``.
        augment: flip and shift posters, anew in each epoch.
        max_shift: the largest shift, as a share of the height and width.
        seed: for order and augmentation.

    Example:
        >>> batches = FilmBatches(FilmTensors(genres, posters), rows=np.arange(100), batch_size=32)
        >>> [int(batch["weight"].numpy().sum()) for batch in batches.epoch_batches(0)]
        [32, 32, 32, 4]
    """

    def __init__(
        self,
        tensors: FilmTensors,
        rows: npt.NDArray[np.integer],
        batch_size: int,
        *,
        shuffle: bool = False,
        augment: bool = False,
        max_shift: float = 0.1,
        seed: int = 0,
    ) -> None:
        self.tensors = tensors
        self.rows = rows
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.augment = augment and "poster" in tensors.tables
        self.max_shift = max_shift
        self.seed = seed
        self._gather = None

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[dict[str, tf.Tensor]]:
        return iter(self.epoch_batches(0))

    def epoch_batches(self, epoch: int, start_batch: int = 0) -> tf.data.Dataset:
        """The batches of one epoch from ``start_batch`` on, as a ``tf.data.Dataset``.

        The same arguments give the same batches, bit for bit; what is skipped is rows of the plan, not
        posters.
        """
        from kgenre.data.tensorflow import tf

        plan = plan_batches(self.rows, self.batch_size, self.shuffle, self.seed, epoch)
        inputs = {"index": plan.rows[start_batch:], "weight": plan.weights[start_batch:]}
        if self.augment:
            size = tuple(self.tensors.tables["poster"].shape[1:3])
            drawn = draw_augmentation(len(self.tensors), size, self.max_shift, self.seed, epoch)
            inputs |= {"flip": drawn.flips[inputs["index"]], "shift": drawn.shifts[inputs["index"]]}
        if self._gather is None:
            # Traced once, so that an epoch begins in milliseconds and a thousand epochs hold one graph.
            specs = {n: tf.TensorSpec(a.shape[1:], tf.as_dtype(a.dtype)) for n, a in inputs.items()}
            self._gather = tf.function(self._batch, input_signature=[specs]).get_concrete_function()
        options = tf.data.Options()
        options.deterministic = True
        with tf.device("CPU"):
            batches = tf.data.Dataset.from_tensor_slices(inputs).with_options(options)
            batches = batches.map(self._gather, num_parallel_calls=tf.data.AUTOTUNE)
            return batches.prefetch(tf.data.AUTOTUNE)

    def _batch(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        from kgenre.data.tensorflow import tf

        index = inputs["index"]  # (B,)
        batch = {"index": index, "weight": inputs["weight"]}
        for name, table in self.tensors.tables.items():
            if name == "poster" and self.augment:
                batch[name] = _gather_augmented(table, index, inputs["flip"], inputs["shift"])
            else:
                batch[name] = tf.gather(table, index)
        return batch


def _gather_augmented(posters: tf.Tensor, index: tf.Tensor, flip: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    # Still one gather: of pixels, each from where the flip and the shift take it. Clipping repeats the edges.
    from kgenre.data.tensorflow import tf

    films, height, width, channels = posters.shape
    y = tf.clip_by_value(tf.range(height) - shift[:, :1], 0, height - 1)  # (B, H)
    x = tf.clip_by_value(tf.range(width) - shift[:, 1:], 0, width - 1)  # (B, W)
    x = tf.where(flip[:, None], width - 1 - x, x)
    integers = tf.int32 if films * height * width < 2**31 else tf.int64
    index, y, x = (tf.cast(part, integers) for part in (index, y, x))
    pixel = ((index[:, None] * height + y) * width)[:, :, None] + x[:, None, :]  # (B, H, W)
    return tf.gather(tf.reshape(posters, (-1, channels)), pixel)
