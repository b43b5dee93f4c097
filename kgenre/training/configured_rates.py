"""A rate that was changed in the configuration reaches a run that goes on, where its optimizer kept the old."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


def configured_rates(trainer: Trainer) -> list[float | None]:
    """The rate that each optimizer of a fit was made with; None: a Keras schedule, which no checkpoint replaces."""
    schedules = [callable(optimizer._learning_rate) for optimizer in trainer.optimizers]
    rates = zip(trainer.learning_rates(), schedules, strict=True)
    return [None if is_schedule else rate for rate, is_schedule in rates]


def apply_changed_rates(trainer: Trainer, then: Sequence[float | None]) -> None:
    """Let a restored run go on with the rates that are configured now, where they are not those of its beginning.

    What schedules and callbacks have made of a rate since stays: it is multiplied by new rate / old rate.

    Args:
        trainer: restored, so that its optimizers have the checkpoint's rates.
        then: what `configured_rates` gave when the checkpoint's run was built; [] of a checkpoint that does not know.
    """
    now = trainer.configured_rates
    if len(now) != len(then):
        return
    for position, (new, old) in enumerate(zip(now, then, strict=True)):
        if new != old and new and old:
            rate = trainer.learning_rates()[position] * new / old
            trainer.set_learning_rate(rate, position)
            _log.warning(
                "The learning rate is %g from here on: %g is configured instead of %g, with which the run began.",
                rate,
                new,
                old,
            )
