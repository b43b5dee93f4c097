"""Log how fast training runs."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from kgenre.callbacks.callback import Callback
from kgenre.lightning_arguments import explain_arguments

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer


class ThroughputMonitor(Callback):
    """Logs ``throughput/samples_per_second``, ``throughput/seconds_per_step`` and ``throughput/seconds_per_epoch``.

    They measure training without validation; a step is an optimizer update. The first epoch includes compilation.
    Samples are rows of the batch's first array.

    Example:
        >>> Trainer(logger=CSVLogger())  # with a logger it is there without being named
    """

    logs = ("throughput/",)

    @explain_arguments
    def __init__(self) -> None:
        self._samples = self._step = 0
        self._started = self._paused_at = 0.0
        self._before: dict[str, Any] = {}  # the saved counts of an epoch that is resumed

    def next_step_needed(self, trainer: Trainer) -> float:
        """Request no particular update: rows can be counted later."""
        return math.inf

    def on_train_epoch_start(self, trainer: Trainer, module: Module) -> None:
        """Start the clock, or continue from a checkpoint saved inside the epoch."""
        before, self._before = self._before if trainer.batch_idx else {}, {}
        self._samples, self._step = before.get("samples", 0), before.get("step", trainer.global_step)
        self._started = time.perf_counter() - before.get("seconds", 0.0)

    def on_train_batch_end(
        self, trainer: Trainer, module: Module, outputs: dict[str, Any], batch: Any, batch_idx: int
    ) -> None:
        """Count rows; shapes are known without waiting for the step."""
        first = batch
        while isinstance(first, dict | list | tuple):
            first = next(iter(first.values())) if isinstance(first, dict) else first[0]
        self._samples += int(first.shape[0]) if first.shape else 1

    def on_validation_start(self, trainer: Trainer, module: Module) -> None:
        """Stop the clock: validation is not training time."""
        self._paused_at = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, module: Module) -> None:
        """Restart the clock."""
        self._started += time.perf_counter() - self._paused_at

    def on_train_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """Log the throughput: the epoch's values have been fetched, so its steps are done."""
        seconds = time.perf_counter() - self._started
        trainer.results.log("throughput/seconds_per_epoch", seconds)
        trainer.results.log("throughput/samples_per_second", self._samples / seconds)
        if trainer.global_step > self._step:
            trainer.results.log("throughput/seconds_per_step", seconds / (trainer.global_step - self._step))

    def state_dict(self) -> dict[str, Any]:
        """The counts and seconds of the epoch so far."""
        return {"samples": self._samples, "step": self._step, "seconds": time.perf_counter() - self._started}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Keep the saved counts for the epoch that is resumed."""
        self._before = dict(state)
