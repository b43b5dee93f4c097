"""The losses of a run over the epochs, and what they say."""

from __future__ import annotations

from dataclasses import dataclass

from kgenre.evaluation.curve_state import State, curve_state
from kgenre.reports.run import Run


@dataclass(frozen=True)
class LearningCurve:
    """The epochs of a run; losses are means over films and genres, ``state`` as `curve_state` has it."""

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
    return LearningCurve(train, validation, best, curve_state(train, validation))


def still_falling(run: Run) -> bool | None:
    """Whether longer training would have lowered the validation loss; None where nothing is known of it."""
    curve = learning_curve(run)
    if curve is None or run.rate_ran_out:
        return None
    return {"falling": True, "overfitted": False}.get(curve.state)
