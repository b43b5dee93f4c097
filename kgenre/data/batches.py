"""Batches of films: a ``tf.data`` pipeline over a plan, with one gather per batch from tables in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kgenre.data.augmentation import Augmentation, augmented, draw_augmentation
from kgenre.data.batch_plan import AUGMENTATION, LengthBuckets, batches_of, plan_batches, rows_of_batches
from kgenre.data.poster_files import usable_cpus
from kgenre.data.streamed_posters import StreamedPosters

if TYPE_CHECKING:
    from collections.abc import Iterable

    import tensorflow as tf

_AHEAD = 2  # batches to prefetch


class FilmTensors:
    """The tables that batches are gathered from, passed to TensorFlow once and shared by all `FilmBatches`.

    Args:
        genres: uint8 or float32 (n, G).
        posters: uint8 (m, H, W, 3), `StreamedPosters`, or None for batches without ``poster``.
        overviews: int32 (n, T), or None for batches without ``overview``.
        poster_rows: int (n), the row of each film's poster in ``posters``; None if m = n.

    Posters and overviews that are aligned to 64 bytes, as those from `poster_table` and `kept_tokens` are, are used
    without a copy and must not be modified.
    """

    def __init__(
        self,
        genres: npt.NDArray[Any],
        posters: npt.NDArray[np.uint8] | StreamedPosters | None = None,
        overviews: npt.NDArray[np.int32] | None = None,
        poster_rows: npt.NDArray[np.integer] | None = None,
    ) -> None:
        from kgenre.data.tensorflow import tf

        self.stream = posters if isinstance(posters, StreamedPosters) else None
        with tf.device("CPU"):  # the tables stay in host memory; only batches go to the device
            self.tables = {} if overviews is None else {"overview": _without_a_copy(overviews)}
            self.tables["genres"] = tf.convert_to_tensor(genres)
            if posters is not None and not isinstance(posters, StreamedPosters):
                self.tables["poster"] = _without_a_copy(posters)
            self.poster_rows = None if poster_rows is None else tf.constant(poster_rows, tf.int64)

    def __len__(self) -> int:
        return len(self.tables["genres"])

    @property
    def overviews(self) -> npt.NDArray[np.int32] | None:
        """The overviews, without a copy; None if there are none."""
        return np.asarray(self.tables["overview"]) if "overview" in self.tables else None

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) of the posters; None if there are none."""
        if self.stream is not None:
            return self.stream.image_size
        return tuple(self.tables["poster"].shape[1:3]) if "poster" in self.tables else None


def _without_a_copy(table: npt.NDArray[Any]) -> tf.Tensor:
    from kgenre.data.tensorflow import tf

    if table.flags.writeable and table.flags.c_contiguous and table.ctypes.data % 64 == 0 and table.size:
        return tf.experimental.dlpack.from_dlpack(table.__dlpack__())
    return tf.convert_to_tensor(table)


class FilmBatches:
    """Batches of some films of a table; implements `EpochBatches`.

    A batch is a dict of tensors: ``poster`` uint8 (B, H, W, 3), ``overview`` int32 (B, T), ``genres``
    float32 (B, G), ``index`` int32 (B), the row in the table, and ``weight`` float32 (B), 1, or 0 for
    films that only pad the last batch. All batches of all epochs have the same shapes, except for T with ``buckets``.

    ``for batch in batches`` iterates over epoch 0 each time; a custom loop calls ``epoch_batches(epoch)``.

    Args:
        tensors: the films.
        rows: the films' rows in the table.
        batch_size: B; if there are fewer rows, hardly more than their number, see `rows_of_batches`.
        shuffle: use a different order in each epoch, determined by (seed, epoch), instead of the order of ``rows``.
        augment: how posters are changed, differently in each epoch; None: not at all.
        seed: for order and augmentation.
        buckets: batch films with overviews of similar length, padded to their bucket's width: T has a few values.
        drop_remainder: leave out a batch that is not full instead of padding it; see `plan_batches`.

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
        augment: Augmentation | None = None,
        seed: int = 0,
        buckets: LengthBuckets | None = None,
        drop_remainder: bool = False,
    ) -> None:
        self.tensors = tensors
        self.rows = rows
        self.batch_size = batch_size if drop_remainder else rows_of_batches(len(rows), batch_size)
        self.shuffle = shuffle
        self.augment = augment if tensors.image_size else None
        self.seed = seed
        self.buckets = buckets if "overview" in tensors.tables else None
        self.drop_remainder = drop_remainder
        self._gather = None

    def __len__(self) -> int:
        return batches_of(len(self.rows), self.batch_size, self.drop_remainder)

    def __iter__(self) -> Iterator[dict[str, tf.Tensor]]:
        return iter(self.epoch_batches(0))

    def epoch_batches(self, epoch: int, start_batch: int = 0) -> Iterable[dict[str, tf.Tensor]]:
        """The batches of one epoch from ``start_batch`` on: a ``tf.data.Dataset``, or an iterator of streamed posters.

        The same arguments give the same batches, bit for bit. No posters are read for skipped batches.
        """
        from kgenre.data.tensorflow import tf

        plan = plan_batches(
            self.rows, self.batch_size, self.shuffle, self.seed, epoch, self.buckets, self.drop_remainder
        )
        inputs = {"index": plan.rows[start_batch:], "weight": plan.weights[start_batch:]}
        if plan.widths is not None:
            inputs["width"] = plan.widths[start_batch:]
        size = self.tensors.image_size
        if self.augment is not None and size is not None:
            seed = (self.seed, epoch, AUGMENTATION)
            drawn = draw_augmentation(self.augment, len(self.tensors), size, seed)
            inputs |= {name: values[inputs["index"]] for name, values in drawn.items()}
        if self.tensors.stream is not None:
            return self._streamed(self.tensors.stream, inputs)
        options = tf.data.Options()
        options.deterministic = True
        # Rewriting the graph would copy the tables in it.
        options.experimental_optimization.apply_default_optimizations = False
        # One thread per batch: to split a batch among threads costs more than it saves.
        options.threading.max_intra_op_parallelism = 1
        # The autotune thread sleeps for 10, 20, 40, ... ms at a time, and the end of an epoch waits until it wakes.
        options.autotune.enabled = False
        with tf.device("CPU"):
            batches = tf.data.Dataset.from_tensor_slices(inputs).with_options(options)
            batches = batches.map(self._traced(inputs), num_parallel_calls=usable_cpus())
            return batches.prefetch(_AHEAD)

    def _streamed(self, stream: StreamedPosters, inputs: dict[str, npt.NDArray[Any]]) -> Iterator[dict[str, tf.Tensor]]:
        from kgenre.data.tensorflow import tf

        for i, (posters, weights) in enumerate(stream.batches(inputs["index"], inputs["weight"])):
            batch = {name: values[i] for name, values in inputs.items()} | {"poster": posters, "weight": weights}
            with tf.device("CPU"):
                batch = {name: tf.convert_to_tensor(values) for name, values in batch.items()}
                batch = self._traced({name: values[None] for name, values in batch.items()})(batch)
            yield batch  # outside of the block, or the training step would be computed on the CPU too

    def _traced(self, inputs: dict[str, Any]) -> Any:
        # Traced once, so that an epoch begins within milliseconds and all epochs share one graph.
        if self._gather is None:
            from kgenre.data.tensorflow import tf

            specs = {n: tf.TensorSpec(a.shape[1:], tf.as_dtype(a.dtype)) for n, a in inputs.items()}
            with tf.device("CPU"):
                # AutoGraph would write a temporary file, and there is nothing here for it to convert.
                batch = tf.function(self._batch, input_signature=[specs], autograph=False)
                self._gather = batch.get_concrete_function()
        return self._gather

    def _batch(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        from kgenre.data.tensorflow import tf

        index = inputs["index"]  # (B,)
        batch = {"index": index, "weight": inputs["weight"]}
        if "poster" in inputs:  # streamed
            posters, rows = inputs["poster"], tf.range(self.batch_size)
        else:
            posters = self.tensors.tables.get("poster")
            rows = index if self.tensors.poster_rows is None else tf.gather(self.tensors.poster_rows, index)
        if self.augment:
            batch["poster"] = augmented(posters, rows, self.augment, inputs)
        elif posters is not None:
            batch["poster"] = posters if "poster" in inputs else tf.gather(posters, rows)
        for name, table in self.tensors.tables.items():
            if name != "poster":
                batch[name] = tf.gather(table, index)
        batch["genres"] = tf.cast(batch["genres"], tf.float32)
        if "width" in inputs:
            batch["overview"] = batch["overview"][:, : inputs["width"]]
        return batch
