"""Refuse a Keras schedule where a callback sets the learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kgenre.training.trainer import Trainer


def reject_schedules(callback: str, trainer: Trainer, number: int | None = None) -> None:
    """Check that the rate of every optimizer, or of optimizer ``number``, can be set.

    Raises:
        TypeError: one was given a Keras schedule, which sets the rate by itself.
    """
    for optimizer in trainer.optimizers if number is None else [trainer.optimizers[number]]:
        if callable(optimizer._learning_rate):
            raise TypeError(
                f"{callback} cannot set the learning rate of an optimizer that has the schedule "
                f"{type(optimizer._learning_rate).__name__}. Pass the optimizer a number, or drop the callback."
            )
