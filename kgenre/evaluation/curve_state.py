"""What losses over the epochs say: too short, overfitted, or done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

# Half a percent of the loss is noise from epoch to epoch.
_STEADY = 0.005
_PATIENCE = 5  # epochs without a new best, after which nobody would wait for one

State = Literal["single", "falling", "overfitted", "flat", "level"]


def curve_state(train: Sequence[float] | None, validation: Sequence[float]) -> State:
    """What the losses of a training say.

    "single": one epoch, of which nothing can be said; "overfitted": validation rose above its best while training fell
    clearly; "falling": the best epoch is among the last two, or the last third of the epochs is lower than the third
    before; "flat": nothing moves; "level": validation stays near its best. One network jumps by some percent from epoch
    to epoch, another does not: a rise alone says nothing.

    Args:
        train: of each epoch; None where it is unknown, and taken to have fallen.
        validation: as many.

    Example:
        >>> curve_state([0.7, 0.35, 0.23], [0.5, 0.4, 0.45])
        'overfitted'
    """
    if len(validation) == 1:
        return "single"
    best = min(range(len(validation)), key=validation.__getitem__)
    # Training loss is with dropout, so only how it changes can be compared.
    learned = best < len(validation) - 1 if train is None else train[-1] < train[best] * (1 - 10 * _STEADY)
    if learned and validation[-1] > validation[best] * (1 + 2 * _STEADY):
        return "overfitted"
    if validation[best] < validation[0] * (1 - _STEADY) and (
        best >= len(validation) - 2 or (best >= len(validation) - _PATIENCE and _falls(validation))
    ):
        return "falling"
    return "flat" if max(validation) < min(validation) * (1 + 2 * _STEADY) else "level"


def _falls(losses: Sequence[float]) -> bool:
    """Whether the mean of the last third is clearly below that of the third before; of few epochs nothing is clear."""
    third = len(losses) // 3
    if third < 2:
        return False
    last, before = losses[-third:], losses[-2 * third : -third]
    return sum(last) < sum(before) * (1 - _STEADY)
