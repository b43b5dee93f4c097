"""The Tuner: finds a learning rate or a batch size before training."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from kgenre.callbacks import LambdaCallback
from kgenre.callbacks.batch_size_finder import BatchSizeFinder
from kgenre.callbacks.learning_rate_finder import LearningRateFinder, RangeTest
from kgenre.callbacks.search import run_trial
from kgenre.tuning.step_times import step_times

if TYPE_CHECKING:
    from kgenre.training.data_module import DataModule
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer


class Tuner:
    """Searches with a trainer's flags, and leaves the trainer, the weights and the optimizer as they were.

    Args:
        trainer: its precision, limits, clipping and accumulation are used.

    Example:
        >>> tuner = Tuner(Trainer(max_epochs=10))
        >>> found = tuner.lr_find(module, datamodule=data)  # sets module.learning_rate
        >>> found.suggestion(), found.plot(suggest=True)
        >>> tuner.scale_batch_size(module, datamodule=data, mode="binsearch")  # sets data.batch_size
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def lr_find(
        self,
        model: Module,
        train_dataloaders: Iterable[Any] | DataModule | None = None,
        datamodule: DataModule | None = None,
        min_lr: float = 1e-8,
        max_lr: float = 1.0,
        num_training: int = 100,
        mode: Literal["exponential", "linear"] = "exponential",
        early_stop_threshold: float | None = 4.0,
        update_attr: bool = True,
        attr_name: str = "",
    ) -> RangeTest | None:
        """Run a range test; arguments as in `LearningRateFinder`. Returns None with ``fast_dev_run``."""
        finder = LearningRateFinder(min_lr, max_lr, num_training, mode, early_stop_threshold, update_attr, attr_name)
        return finder.lr_find(self._with_data(model, train_dataloaders, datamodule), model)

    def scale_batch_size(
        self,
        model: Module,
        datamodule: DataModule | None = None,
        mode: Literal["power", "binsearch"] = "power",
        steps_per_trial: int = 3,
        init_val: int = 2,
        max_trials: int = 25,
        batch_arg_name: str = "batch_size",
        margin: float = 0.05,
        max_val: int = 8192,
    ) -> int | None:
        """Search for the largest batch size; arguments as in `BatchSizeFinder`. Returns None with ``fast_dev_run``."""
        finder = BatchSizeFinder(mode, steps_per_trial, init_val, max_trials, batch_arg_name, margin, max_val)
        return finder.scale_batch_size(self._with_data(model, None, datamodule), model)

    def step_times(
        self,
        model: Module,
        train_dataloaders: Iterable[Any] | DataModule | None = None,
        datamodule: DataModule | None = None,
    ) -> dict[str, float]:
        """Measure the seconds of a training step on the first batch, keyed by backend, precision and XLA or not.

        They are kept in the cache's folder for ``jit_compile="auto"`` and later runs of the model on this machine.
        """
        found: dict[str, float] = {}

        def measure(trainer: Trainer, module: Module, batch: Any, batch_idx: int) -> int:
            found.update(step_times(trainer.engine, batch, trainer.precision))
            trainer.should_stop = True
            return -1

        callbacks = [LambdaCallback(on_train_batch_start=measure)]
        run_trial(self._with_data(model, train_dataloaders, datamodule), model, callbacks, 1)
        return found

    def _with_data(
        self, model: Module, train_dataloaders: Iterable[Any] | DataModule | None, datamodule: DataModule | None
    ) -> Trainer:
        """Return a copy of the trainer that has these data, as during a fit."""
        if datamodule is None and hasattr(train_dataloaders, "train_dataloader"):  # a DataModule, as in `Trainer.fit`
            train_dataloaders, datamodule = None, train_dataloaders
        trainer = copy.copy(self.trainer)
        trainer.train_source, trainer.datamodule = train_dataloaders, datamodule
        provider = model if datamodule is None else datamodule
        trainer.data = provider if train_dataloaders is None else None
        return trainer
