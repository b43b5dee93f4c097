"""Classifies the losses of a training run: too short, overfitted, or finished."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

# Changes of half a percent of the loss between epochs are noise.
_STEADY = 0.005
_PATIENCE = 5  # epochs without a new best after which none is expected

State = Literal["single", "falling", "overfitted", "flat", "level"]


def curve_state(train: Sequence[float] | None, validation: Sequence[float]) -> State:
    """Classify the losses of a training run.

    "single": one epoch, from which nothing follows; "overfitted": validation rose above its best while training clearly
    fell; "falling": the best epoch is one of the last two, or one of the last five while the last third of the epochs
    is lower than the third before; "flat": nothing changes; "level": validation stays near its best. Some networks'
    losses jump by a few percent from epoch to epoch, so a rise alone means nothing.

    Args:
        train: loss of each epoch; None if unknown, and then assumed to have fallen.
        validation: loss of each epoch, as many.

    Example:
        >>> curve_state([0.7, 0.35, 0.23], [0.5, 0.4, 0.45])
        'overfitted'
    """
    if len(validation) == 1:
        return "single"
    best = min(range(len(validation)), key=validation.__getitem__)
    # The training loss includes dropout, so it is compared only with itself.
    learned = best < len(validation) - 1 if train is None else train[-1] < train[best] * (1 - 10 * _STEADY)
    if learned and validation[-1] > validation[best] * (1 + 2 * _STEADY):
        return "overfitted"
    if validation[best] < validation[0] * (1 - _STEADY) and (
        best >= len(validation) - 2 or (best >= len(validation) - _PATIENCE and _falls(validation))
    ):
        return "falling"
    return "flat" if max(validation) < min(validation) * (1 + 2 * _STEADY) else "level"


def longer_would_help(state: State) -> bool | None:
    """Return whether longer training would have lowered the validation loss; None if the curve does not tell."""
    return {"falling": True, "overfitted": False}.get(state)


def written_curve(run_dir: Path) -> list[dict[str, float]]:
    """Return the validations in a run's ``metrics.csv``: "loss", and "train", the epoch's training loss, if known.

    [] if there is no such table, or another program has changed it.
    """
    names = {"val/loss": "loss", "train/loss": "train"}
    with suppress(OSError, ValueError, csv.Error), (run_dir / "metrics.csv").open(encoding="utf-8-sig") as file:
        rows = [row for row in csv.DictReader(file) if row.get("val/loss")]
        return [{ours: float(row[name]) for name, ours in names.items() if row.get(name)} for row in rows]
    return []


def _falls(losses: Sequence[float]) -> bool:
    """Whether the last third is clearly below the third before, by their means; False for fewer than six epochs."""
    third = len(losses) // 3
    if third < 2:
        return False
    last, before = losses[-third:], losses[-2 * third : -third]
    return sum(last) < sum(before) * (1 - _STEADY)
