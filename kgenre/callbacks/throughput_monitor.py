"""How fast training runs."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from kgenre.callbacks.callback import Callback

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer


class ThroughputMonitor(Callback):
    """Logs ``throughput/samples_per_second``, ``throughput/seconds_per_step`` and ``throughput/seconds_per_epoch``.

    They are of training, without validation; a step is an optimizer update. The first epoch includes compilation.
    Samples are rows of the batch's first array.

    Example:
        >>> Trainer(logger=CSVLogger())  # with a logger it is there without being named
    """

    def __init__(self) -> None:
        self._samples = self._step = 0
        self._begun = self._outside = self._left = 0.0
        self._before: dict[str, Any] = {}  # of an epoch that is resumed

    def next_step_needed(self, trainer: Trainer) -> float:
        """Rows can be counted later."""
        return math.inf

    def on_train_epoch_start(self, trainer: Trainer, module: Module) -> None:
        """Start the clock, or go on where the checkpoint of an epoch's middle left it."""
        before, self._before = self._before if trainer.batch_idx else {}, {}
        self._samples, self._step = before.get("samples", 0), before.get("step", trainer.global_step)
        self._outside, self._begun = 0.0, time.perf_counter() - before.get("seconds", 0.0)

    def on_train_batch_end(
        self, trainer: Trainer, module: Module, outputs: dict[str, Any], batch: Any, batch_idx: int
    ) -> None:
        """Count rows; shapes are known without waiting for the step."""
        first = batch
        while isinstance(first, dict | list | tuple):
            first = next(iter(first.values())) if isinstance(first, dict) else first[0]
        self._samples += int(first.shape[0]) if first.shape else 1

    def on_validation_start(self, trainer: Trainer, module: Module) -> None:
        """Validation is not training time."""
        self._left = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, module: Module) -> None:
        """Go on counting."""
        self._outside += time.perf_counter() - self._left

    def on_train_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """The epoch's values are fetched by now, so its steps are done."""
        seconds = self._seconds()
        trainer.results.log("throughput/seconds_per_epoch", seconds)
        trainer.results.log("throughput/samples_per_second", self._samples / seconds)
        if trainer.global_step > self._step:
            trainer.results.log("throughput/seconds_per_step", seconds / (trainer.global_step - self._step))

    def _seconds(self) -> float:
        return time.perf_counter() - self._begun - self._outside

    def state_dict(self) -> dict[str, Any]:
        """What the epoch has come to so far."""
        return {"samples": self._samples, "step": self._step, "seconds": self._seconds()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._before = dict(state)
