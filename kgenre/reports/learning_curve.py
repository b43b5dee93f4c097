"""The losses of a run over the epochs, and what they say."""

from __future__ import annotations

from dataclasses import dataclass

from kgenre.evaluation.curve_state import State, curve_state
from kgenre.reports.run import Run


@dataclass(frozen=True)
class LearningCurve:
    """The epochs after which a run validated; losses are means over films and genres, ``state`` as of `curve_state`."""

    train: tuple[float, ...]
    validation: tuple[float, ...]
    epochs: tuple[int, ...]  # which these are, from 1
    trained: int  # epochs, validated or not
    best: int  # position of the lowest validation loss
    state: State

    @property
    def best_epoch(self) -> int:
        """The one with the lowest validation loss, from 1."""
        return self.epochs[self.best]

    @property
    def rise(self) -> float:
        """How far the last validation loss is above the best, as a share."""
        return self.validation[-1] / self.validation[self.best] - 1


def learning_curve(run: Run) -> LearningCurve | None:
    """The curve of a run; None for one without epochs that were trained and validated."""
    validated = {number: epoch for number, epoch in enumerate(run.epochs, 1) if "val/loss" in epoch}
    if not validated:
        return None
    train = tuple(epoch["train/loss"] for epoch in validated.values())
    validation = tuple(epoch["val/loss"] for epoch in validated.values())
    best = min(range(len(validation)), key=validation.__getitem__)
    return LearningCurve(train, validation, tuple(validated), len(run.epochs), best, curve_state(train, validation))


def still_falling(run: Run) -> bool | None:
    """Whether longer training would have lowered the validation loss; None where nothing is known of it."""
    curve = learning_curve(run)
    if curve is None or run.rate_ran_out:
        return None
    return {"falling": True, "overfitted": False}.get(curve.state)
