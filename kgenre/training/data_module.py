"""The DataModule: data preparation and the sources of batches in one object."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from itertools import count, islice, takewhile
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, runtime_checkable

from kgenre.training.hyperparameters import Hyperparameters
from kgenre.training.limits import length_of
from kgenre.training.read_in_threads import read_in_threads
from kgenre.users_code import ShortTraceback

if TYPE_CHECKING:
    from kgenre.training.trainer import Trainer


@runtime_checkable
class EpochBatches(Protocol):
    """A source of batches that can start at any position, given as (epoch, batch in the epoch).

    Its length is the number of batches in an epoch; without one, an epoch lasts as long as there are batches.

    Other sources (a list of batches, a ``tf.data.Dataset``, a Keras ``PyDataset``) work too: they are iterated from
    the start in every epoch, and a resume in the middle of an epoch skips the batches that were already seen. The
    workers of a ``PyDataset`` are threads that read ahead: what ``__getitem__`` draws at random must depend on the
    index alone, for a repeat or a resume to give the same batches.
    """

    def epoch_batches(self, epoch: int, start_batch: int = 0) -> Iterable[Any]:
        """The batches of one epoch, from ``start_batch`` on; always the same ones for the same arguments."""
        ...


class DataModule(Hyperparameters):
    """Data preparation and the four sources of batches, with Lightning's names and order of calls.

    Each stage ("fit", "validate", "test" or "predict") calls ``prepare_data()``, ``setup(stage)``, the stage's
    ``*_dataloader`` methods and, at the end, ``teardown(stage)``. A source of batches is anything that can be iterated
    once per epoch: a ``tf.data.Dataset``, a Keras ``PyDataset``, a PyTorch ``DataLoader``, a grain dataset, a list of
    batches, an `ArrayDataset`, or an object with ``epoch_batches`` (see `EpochBatches`). Its first batch is read once
    more before training, for its shape.

    Example:
        >>> class Squares(DataModule):
        ...     def train_dataloader(self):
        ...         x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
        ...         return ArrayDataset({"x": x, "y": x**2}, batch_size=8, shuffle=True)
    """

    trainer: Trainer | None = None
    # Hyperparameters that determine the n-th batch of an epoch: a run resumed inside an epoch warns if they changed.
    batch_arguments: ClassVar[tuple[str, ...]] = ("batch_size", "drop_remainder", "seed")

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: str | os.PathLike[str], **overrides: Any) -> Self:
        """Recreate a run's datamodule, with its hyperparameters and what it had learned (a vocabulary, a split).

        Args:
            checkpoint_path: a checkpoint's folder, or a run's folder (its best checkpoint).
            **overrides: arguments of ``__init__`` that replace the saved ones.

        Raises:
            CheckpointError: not a checkpoint, or one of a run without a datamodule.
            TypeError: ``__init__`` does not take one of the overrides.

        Example:
            >>> data = Digits.load_from_checkpoint("runs/digit_net/version_0")
            >>> data.setup("predict")
        """
        from kgenre.training.load_from_checkpoint import load_data_module

        return load_data_module(cls, checkpoint_path, overrides)

    def prepare_data(self) -> None:
        """Download, unpack, create caches. Called before `setup` in each stage; should set nothing on ``self``."""

    def setup(self, stage: str) -> None:
        """Read and split the data that ``stage`` needs. Called before each stage, so it must be repeatable."""

    def teardown(self, stage: str) -> None:
        """Close what `setup` opened; not called if that did not finish."""

    def on_exception(self, exception: BaseException) -> None:
        """The stage was ended by an error or by Ctrl-C; `teardown` follows. An error raised here is only logged."""

    def train_dataloader(self) -> Iterable[Any]:
        """The training batches."""
        raise MissingDataloaderError(self, "train_dataloader", "fit")

    def val_dataloader(self) -> Iterable[Any] | None:
        """The validation batches; with None (the default) ``fit`` does not validate."""
        return None

    def test_dataloader(self) -> Iterable[Any]:
        """The test batches."""
        raise MissingDataloaderError(self, "test_dataloader", "test")

    def predict_dataloader(self) -> Iterable[Any]:
        """The batches to predict."""
        raise MissingDataloaderError(self, "predict_dataloader", "predict")

    def save_artifacts(self, directory: str | os.PathLike[str]) -> None:
        """Write files that document the data (a split, a vocabulary) into the run's folder."""

    def state_dict(self) -> dict[str, Any]:
        """The state to keep in checkpoints: JSON values only (a vocabulary, class names)."""
        return {}

    @property
    def results_name(self) -> str:
        """After `setup`, a name for data other than those of the checkpoint's run; "" for the run's own data.

        ``validate`` and ``test`` write the results on other data into ``<run>/<stage>_<name>``.
        """
        return ""

    @property
    def results_source(self) -> str:
        """Where data with a `results_name` come from; data of the same name from elsewhere get another folder."""
        return ""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; called before `setup`, on resume and when a checkpoint is evaluated.

        Also called if an evaluation gets a new datamodule of the class that the module was trained with, and in the
        middle of a fit that goes back to a checkpoint (see `TerminateOnNaN`).
        """


class MissingDataloaderError(ShortTraceback, TypeError):
    """The DataModule does not define the source of batches that a stage needs."""

    def __init__(self, module: DataModule, method: str, stage: str) -> None:
        super().__init__(
            f"trainer.{stage}() needs {type(module).__name__}.{method}(), which is not defined. "
            f"Define it, or give the batches to trainer.{stage}() directly."
        )


def iterate_epoch(source: Iterable[Any], epoch: int, start_batch: int = 0) -> Iterator[Any] | Iterable[Any]:
    """The batches of ``epoch`` from ``start_batch`` on, for any kind of source."""
    if isinstance(source, EpochBatches):
        return source.epoch_batches(epoch, start_batch)
    if hasattr(source, "__getitem__") and hasattr(source, "on_epoch_begin"):
        return _epoch_of_py_dataset(source, start_batch)
    if not start_batch:
        return source
    # A tf.data.Dataset skips inside its pipeline, without passing the batches to Python.
    return source.skip(start_batch) if hasattr(source, "skip") else islice(source, start_batch, None)


def _epoch_of_py_dataset(source: Any, start_batch: int) -> Iterator[Any]:
    source.on_epoch_begin()
    try:
        length = length_of(source)
        numbers = takewhile(lambda number: number < length, count(start_batch))
        workers = getattr(source, "workers", 1)
        if getattr(source, "use_multiprocessing", False):
            warnings.warn(
                f"{type(source).__name__} has use_multiprocessing=True, but the workers of a PyDataset are threads "
                "here. To read in processes, use a PyTorch DataLoader(num_workers=...).",
                stacklevel=2,
            )
        if workers > 1:
            yield from read_in_threads(source.__getitem__, numbers, workers, source.max_queue_size or workers)
        else:
            yield from map(source.__getitem__, numbers)
    finally:  # also when a limit ends the epoch early
        source.on_epoch_end()
