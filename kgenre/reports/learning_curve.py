"""What the losses over the epochs say: too short, overfitted, or done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kgenre.reports.run import Run

# Half a percent of the loss is noise from epoch to epoch.
_PATIENCE = 5  # epochs without a new best, after which nobody would wait for one
_STEADY = 0.005


State = Literal["falling", "overfitted", "flat", "level"]


@dataclass(frozen=True)
class LearningCurve:
    """The epochs of a run; losses are means over films and genres.

    ``state`` is "overfitted" (validation rose above its best while training fell clearly), "falling" (the best epoch
    is among the last two, or the last third of the epochs is lower than the third before), "flat" (neither moves) or
    "level" (validation stays near its best). One network jumps by some percent from epoch to epoch, another does not:
    a rise alone says nothing.
    """

    train: tuple[float, ...]
    validation: tuple[float, ...]
    best: int  # position of the lowest validation loss
    state: State

    @property
    def rise(self) -> float:
        """How far the last validation loss is above the best, as a share."""
        return self.validation[-1] / self.validation[self.best] - 1


def learning_curve(run: Run) -> LearningCurve | None:
    """The curve of a run; None for one without epochs that were trained and validated."""
    if not run.epochs:
        return None
    train = tuple(epoch["train/loss"] for epoch in run.epochs)
    validation = tuple(epoch["val/loss"] for epoch in run.epochs)
    best = min(range(len(validation)), key=validation.__getitem__)
    # Training loss is with dropout, so only how it changes can be compared.
    learned = train[-1] < train[best] * (1 - 10 * _STEADY)
    state: State = "level"
    if learned and validation[-1] > validation[best] * (1 + 2 * _STEADY):
        state = "overfitted"
    elif validation[best] < validation[0] * (1 - _STEADY) and (
        best >= len(validation) - 2 or (best >= len(validation) - _PATIENCE and _falls(validation))
    ):
        state = "falling"
    elif max(validation) < min(validation) * (1 + 2 * _STEADY):
        state = "flat"
    return LearningCurve(train, validation, best, state)


def _falls(losses: Sequence[float]) -> bool:
    """Whether the mean of the last third is clearly below that of the third before; of few epochs nothing is clear."""
    third = len(losses) // 3
    if third < 2:
        return False
    last, before = losses[-third:], losses[-2 * third : -third]
    return sum(last) < sum(before) * (1 - _STEADY)
