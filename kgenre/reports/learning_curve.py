"""A run's losses over the epochs, and whether they were still falling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kgenre.evaluation.curve_state import State, curve_state, longer_would_help
from kgenre.reports.options import rate_ran_out
from kgenre.reports.run import Run


@dataclass(frozen=True)
class LearningCurve:
    """A run's losses, means over films and genres.

    Args:
        train: training loss of each epoch; NaN or infinite for one that overflowed, as may happen in half precision.
        validation: loss of each validation whose loss is finite.
        epochs: `epochs_trained` before each validation: 1 at the end of the first, 0.5 in the middle of it.
        best: index of the lowest validation loss.
        state: see `curve_state`.
    """

    train: tuple[float, ...]
    validation: tuple[float, ...]
    epochs: tuple[float, ...]
    best: int
    state: State

    @property
    def trained(self) -> int:
        """Number of epochs trained, whether or not they were validated."""
        return len(self.train)

    @property
    def best_epoch(self) -> float:
        """The epoch with the lowest validation loss, to a hundredth; fractional for a validation within an epoch."""
        return round(self.epochs[self.best], 2)

    @property
    def rise(self) -> float:
        """How far the last validation loss is above the best, as a fraction of the best."""
        return self.validation[-1] / self.validation[self.best] - 1


def learning_curve(run: Run) -> LearningCurve | None:
    """Return a run's learning curve; None if it has no epochs that were trained and validated."""
    rows = [row for row in run.rows if math.isfinite(row.get("val/loss", math.nan))]
    if not (rows and run.epochs):
        return None
    epochs = epochs_trained(run, [row["step"] for row in rows])
    train = tuple(row["train/loss"] for row in run.epochs)
    validation = tuple(row["val/loss"] for row in rows)
    best = min(range(len(validation)), key=validation.__getitem__)
    meanwhile = [train[min(math.ceil(epoch), len(train)) - 1] for epoch in epochs]
    return LearningCurve(train, validation, tuple(epochs), best, curve_state(meanwhile, validation))


def epochs_trained(run: Run, steps: Sequence[float]) -> list[float]:
    """Return the number of epochs that were trained at each step; fractional within an epoch."""
    ends = [0, *(epoch["step"] for epoch in run.epochs)]
    ends.append(2 * ends[-1] - ends[-2])  # training may have stopped within one more epoch, as long as the last
    return np.interp(steps, ends, range(len(ends))).tolist()


def still_falling(run: Run) -> bool | None:
    """Whether longer training would have lowered the validation loss; None if the curve does not tell."""
    curve = learning_curve(run)
    if curve is None or rate_ran_out(run):
        return None
    return longer_would_help(curve.state)
