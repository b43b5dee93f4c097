"""When a fit updates, validates and ends: pure functions of counts."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class FitSchedule:
    """The shape of a fit. Numbers of batches are infinite for a source of unknown length.

    Args:
        training_batches: training batches in an epoch.
        validation_batches: batches in a validation, of all its sources; 0: no validation.
        validation_interval: training batches from one validation to the next; infinite: only at the epoch's end.
        check_val_every_n_epoch: validate only in every n-th epoch; None: the interval counts across epochs.
        batches_before: training batches of the epochs that are done, which may have differed in length; for an interval
            that counts across epochs.
        accumulate_grad_batches: training batches per optimizer update.
        max_epochs: and ``max_steps`` (-1: no limit): the fit ends when the first of them is reached.
        min_epochs: and ``min_steps``: the fit may not be stopped before both are reached.
    """

    training_batches: int | float
    validation_batches: int | float = 0
    validation_interval: int | float = math.inf
    check_val_every_n_epoch: int | None = 1
    batches_before: int = 0
    accumulate_grad_batches: int = 1
    max_epochs: int | float = math.inf
    max_steps: int = -1
    min_epochs: int = 0
    min_steps: int = 0

    @property
    def validates(self) -> bool:
        """Whether there is anything to validate on."""
        return self.validation_batches > 0

    def updates_after(self, batches: int) -> bool:
        """Whether the optimizer updates after this many batches of an epoch; an incomplete last group counts."""
        return batches % self.accumulate_grad_batches == 0 or batches == self.training_batches

    def validates_inside(self, epoch: int, batches: int) -> bool:
        """Whether validation is due after this many batches, before the epoch's end."""
        return batches < self.training_batches and self._completes_interval(batches) and self._validates_in(epoch)

    def validates_at_end(self, epoch: int, batches: int) -> bool:
        """Whether validation is due at the end of an epoch of this many batches."""
        whole = math.isinf(self.validation_interval) or self._completes_interval(batches)
        return whole and self._validates_in(epoch)

    def _completes_interval(self, batches: int) -> bool:
        before = self.batches_before if self.check_val_every_n_epoch is None else 0
        return (before + batches) % self.validation_interval == 0

    def _validates_in(self, epoch: int) -> bool:
        every = self.check_val_every_n_epoch
        return self.validates and (every is None or (epoch + 1) % every == 0)

    def steps_are_done(self, global_step: int) -> bool:
        """Whether ``max_steps`` is reached."""
        return self.max_steps != -1 and global_step >= self.max_steps

    def is_done(self, epoch: int, global_step: int) -> bool:
        """Whether the fit is over after this many epochs and optimizer updates."""
        return epoch >= self.max_epochs or self.steps_are_done(global_step)

    def may_stop(self, epoch: int, global_step: int) -> bool:
        """Whether the fit may be stopped early after this many epochs and optimizer updates."""
        return epoch >= self.min_epochs and global_step >= self.min_steps

    def remaining(self, batches: int) -> int | None:
        """Batches left in an epoch after this many; None if the length is unknown."""
        return None if math.isinf(self.training_batches) else max(0, int(self.training_batches) - batches)

    @property
    def stepping_batches(self) -> int | float:
        """The number of optimizer updates in the whole fit."""
        updates = math.inf
        if not math.isinf(self.training_batches):
            updates = math.ceil(self.training_batches / self.accumulate_grad_batches) * self.max_epochs
        return updates if self.max_steps == -1 else min(updates, self.max_steps)
