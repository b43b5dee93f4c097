"""When a checkpoint is due: by epochs, by optimizer updates, or by time."""

from __future__ import annotations

import math
from datetime import timedelta
from time import monotonic

from kgenre.callbacks.duration import read_duration


class SaveTimes:
    """The times at which `ModelCheckpoint` saves, from the three arguments of that name, of which one may be given.

    Args:
        every_n_epochs: at the end of every n-th epoch, and at its validations; None: 1, unless another one is given.
        every_n_train_steps: after every n-th optimizer update.
        train_time_interval: when this much time has passed since the last save.

    Raises:
        ValueError: an interval below 1, or several of them.
    """

    def __init__(
        self,
        every_n_epochs: int | None,
        every_n_train_steps: int | None,
        train_time_interval: str | timedelta | dict[str, float] | None,
    ) -> None:
        counts = (every_n_epochs, every_n_train_steps)
        if any(n is not None and n < 1 for n in counts):
            raise ValueError(
                "ModelCheckpoint takes every_n_epochs >= 1 and every_n_train_steps >= 1. Received: "
                f"every_n_epochs={every_n_epochs}, every_n_train_steps={every_n_train_steps}"
            )
        if sum(when is not None for when in (*counts, train_time_interval)) > 1:
            raise ValueError(
                "ModelCheckpoint takes only one of every_n_epochs, every_n_train_steps and train_time_interval. "
                f"Received: every_n_epochs={every_n_epochs}, every_n_train_steps={every_n_train_steps}, "
                f"train_time_interval={train_time_interval!r}"
            )
        self.steps = None if every_n_train_steps is None else int(every_n_train_steps)
        self.seconds: float | None = None
        if train_time_interval is not None:
            argument = "ModelCheckpoint(train_time_interval=...)"
            self.seconds = read_duration(argument, train_time_interval).total_seconds()
        self.epochs = int(every_n_epochs or 1) if self.steps is None and self.seconds is None else None
        self.is_due = False  # by updates or by time; it may wait for a validation
        self._seen = 0  # the newest update that was noted
        self._saved_at = 0.0  # `monotonic` time

    def start(self, step: int) -> None:
        """Begin to count, after ``step`` updates."""
        self._seen, self._saved_at = step, monotonic()

    def note(self, step: int) -> None:
        """Note that a batch was trained, after which ``step`` updates are done."""
        if step == self._seen:
            return  # the batch made no update, or the update of several batches was noted with the first
        self._seen = step
        if self.steps is not None:
            self.is_due = step % self.steps == 0
        elif self.seconds is not None:
            self.is_due = monotonic() - self._saved_at >= self.seconds

    def note_save(self) -> None:
        """Note that a checkpoint is saved."""
        self.is_due, self._saved_at = False, monotonic()

    def is_due_in(self, epoch: int) -> bool:
        """Whether to save at a validation or at the end of this epoch, counted from 0."""
        return self.is_due if self.epochs is None else (epoch + 1) % self.epochs == 0

    def next_step(self, step: int) -> float:
        """The number of updates at which the next checkpoint by updates is due; infinite: there is none."""
        return math.inf if self.steps is None else (step // self.steps + 1) * self.steps
