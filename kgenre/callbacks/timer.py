"""Measure the training time, and stop when the limit is reached."""

from __future__ import annotations

import logging
import math
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

from kgenre.callbacks.callback import Callback
from kgenre.callbacks.duration import read_duration
from kgenre.lightning_arguments import explain_arguments

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

_Stage = Literal["train", "validate", "test"]
_log = logging.getLogger("kgenre")


class Timer(Callback):
    """Ends training after ``duration``; a resumed run continues counting.

    Measures training including its validations, from the first epoch to the last. ``Trainer(max_time=...)`` adds
    a Timer that checks after each step.

    Args:
        duration: "DD:HH:MM:SS", a dict with the keywords of `datetime.timedelta`, or a timedelta; None: only measure.
        interval: check after each "step" or at the end of each "epoch".

    Raises:
        ValueError: the duration or the interval is none of these.

    Example:
        >>> timer = Timer(duration="00:12:00:00")
        >>> Trainer(callbacks=timer).fit(module, batches)
        >>> timer.time_elapsed(), timer.time_remaining()  # seconds
    """

    @explain_arguments
    def __init__(
        self,
        duration: str | timedelta | dict[str, float] | None = None,
        interval: Literal["step", "epoch"] = "step",
    ) -> None:
        self.duration = None if duration is None else read_duration("Timer(duration=...)", duration).total_seconds()
        self.interval = interval
        self._before: dict[_Stage, float] = {}  # seconds by stage, up to the last stop of its clock
        self._started: dict[_Stage, float] = {}  # `monotonic` time when a stage's clock was started

    def time_elapsed(self, stage: _Stage = "train") -> float:
        """Seconds spent in a stage so far, in this fit and in those that it resumes."""
        running = monotonic() - self._started[stage] if stage in self._started else 0.0
        return self._before.get(stage, 0.0) + running

    def time_remaining(self) -> float:
        """Seconds left for training; infinite without a ``duration``."""
        return math.inf if self.duration is None else self.duration - self.time_elapsed()

    def setup(self, trainer: Trainer, module: Module, stage: str) -> None:
        """Reset the clocks for a new fit; a checkpoint's times are loaded later."""
        self._started = {}
        if stage == "fit":
            self._before = {}

    def on_fit_start(self, trainer: Trainer, module: Module) -> None:
        """Check the limit: a resumed run may have used up its time already."""
        self._check(trainer)

    def on_train_start(self, trainer: Trainer, module: Module) -> None:
        """Start the clock."""
        self._started["train"] = monotonic()

    def on_train_end(self, trainer: Trainer, module: Module) -> None:
        """Stop the clock."""
        self._stop("train")

    def on_validation_start(self, trainer: Trainer, module: Module) -> None:
        """Start the clock of validation."""
        self._started["validate"] = monotonic()

    def on_validation_end(self, trainer: Trainer, module: Module) -> None:
        """Stop the clock."""
        self._stop("validate")

    def on_test_start(self, trainer: Trainer, module: Module) -> None:
        """Start the clock of the test."""
        self._started["test"] = monotonic()

    def on_test_end(self, trainer: Trainer, module: Module) -> None:
        """Stop the clock."""
        self._stop("test")

    def on_exception(self, trainer: Trainer, module: Module, exception: BaseException) -> None:
        """Stop all clocks."""
        for stage in list(self._started):
            self._stop(stage)

    def next_step_needed(self, trainer: Trainer) -> float:
        """Request no particular update: a few more short steps do not matter."""
        return math.inf

    def on_train_batch_end(
        self, trainer: Trainer, module: Module, outputs: dict[str, Any], batch: Any, batch_idx: int
    ) -> None:
        """Check the limit after a step."""
        if self.interval == "step":
            self._check(trainer)

    def on_train_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """Check the limit after an epoch."""
        if self.interval == "epoch":
            self._check(trainer)

    def _stop(self, stage: _Stage) -> None:
        self._before[stage] = self.time_elapsed(stage)
        self._started.pop(stage, None)

    def _check(self, trainer: Trainer) -> None:
        if self.duration is None or self.time_remaining() > 0:
            return
        if not trainer.should_stop:
            elapsed = timedelta(seconds=int(self.time_elapsed()))
            _log.info("Time limit reached: trained for %s of %s.", elapsed, timedelta(seconds=self.duration))
        trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """The seconds spent in each stage."""
        return {"seconds": {stage: self.time_elapsed(stage) for stage in {**self._before, **self._started}}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the saved times; not in a running fit that goes back to a checkpoint: its time is spent."""
        if not self._started:
            self._before = dict(state["seconds"])
