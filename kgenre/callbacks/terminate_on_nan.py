"""Stop when the loss is no longer a number."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from kgenre.callbacks.callback import Callback

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


class TerminateOnNaN(Callback):
    """Ends training when a training loss is NaN or infinite, with one line that names the epoch and the step.

    It looks every ``every_n_steps`` batches, at the loss of the batch before, so that the device always has a step to
    work on meanwhile, and at the last loss of each epoch. A NaN that reached the weights is in every later loss, so
    none of consequence is missed; the first bad step may lie up to ``every_n_steps`` before the one that is named.
    Like every stop through ``trainer.should_stop`` it waits for ``min_epochs`` and ``min_steps``.

    Args:
        every_n_steps: batches from one look to the next.

    Raises:
        ValueError: ``every_n_steps`` is below 1.

    Example:
        >>> Trainer(callbacks=[TerminateOnNaN()])
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        if every_n_steps < 1:
            raise ValueError(f"TerminateOnNaN(every_n_steps=...) must be at least 1. Received: {every_n_steps}")
        self.every_n_steps = every_n_steps
        self.stopped_step: int | None = None  # the ``global_step`` whose loss was not finite
        self._newest: tuple[Any, int] | None = None  # a loss on the device and its step

    def on_train_start(self, trainer: Trainer, module: Module) -> None:
        """Nothing is known yet of this fit."""
        self.stopped_step = self._newest = None

    def on_train_batch_end(
        self, trainer: Trainer, module: Module, outputs: dict[str, Any], batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss; every n-th time look at the one before."""
        previous, self._newest = self._newest, (outputs["loss"], trainer.global_step)
        if previous is not None and (batch_idx + 1) % self.every_n_steps == 0:
            self._look(trainer, *previous)

    def on_train_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """Look at the last loss: its step is done by now."""
        if self._newest is not None:
            self._look(trainer, *self._newest)
            self._newest = None

    def _look(self, trainer: Trainer, loss: Any, step: int) -> None:
        value = float(trainer.engine.to_host(loss))
        if math.isfinite(value) or self.stopped_step is not None:
            return
        trainer.should_stop = True
        self.stopped_step = step
        _log.error(
            "Stopping: the training loss is %s at epoch %d, step %d. Often a learning rate that is too high; "
            "Trainer(gradient_clip_val=1.0) limits single steps.",
            value,
            trainer.current_epoch + 1,
            step,
        )
