"""Log how much of the training time is spent waiting for data."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from kgenre.callbacks.callback import Callback

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer


class InputMonitor(Callback):
    """Logs ``input_wait``: the share of an epoch's training time that the loop waited for the next batch, 0 to 1.

    Validation does not count. Near 0 the input keeps up; where it is large, a faster input (a smaller poster, another
    ``poster_table``) makes training faster. The first epoch includes compilation, during which batches are prefetched.

    Example:
        >>> Trainer(max_epochs=3, callbacks=[InputMonitor()]).fit(module, batches)
    """

    logs = ("input_wait",)

    def __init__(self) -> None:
        self._started = self._waited = self._paused_at = 0.0

    def on_train_epoch_start(self, trainer: Trainer, module: Module) -> None:
        """Start the clocks."""
        self._started, self._waited = perf_counter(), trainer.input_seconds

    def on_validation_start(self, trainer: Trainer, module: Module) -> None:
        """Stop the clock: validation is not training time."""
        self._paused_at = perf_counter()

    def on_validation_end(self, trainer: Trainer, module: Module) -> None:
        """Restart the clock."""
        self._started += perf_counter() - self._paused_at

    def on_train_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """Log the share: the epoch's values have been fetched, so its steps are done."""
        seconds = perf_counter() - self._started
        trainer.results.log("input_wait", (trainer.input_seconds - self._waited) / seconds)
