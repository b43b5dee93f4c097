"""The values that hooks of batches log, reduced to one number for the epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from kgenre.engines.step_logs import LogEntry


class EpochValues:
    """A running total and weight of each name, as the engine keeps them on the device for what steps log.

    Example:
        >>> values = EpochValues()
        >>> values.add(LogEntry("accuracy"), 0.5, weight=8), values.add(LogEntry("accuracy"), 1.0, weight=8)
        (0.5, 0.75)
    """

    def __init__(self) -> None:
        self._values: dict[str, tuple[LogEntry, float, float]] = {}

    def add(self, entry: LogEntry, value: float, weight: float) -> float | None:
        """Add a batch's value; return the reduced value so far, None if no batch had a weight."""
        _, total, total_weight = self._values.get(entry.name, (entry, 0.0, 0.0))
        if weight > 0:  # a batch without weight must not let a NaN through
            if entry.reduce_fx == "mean":
                total += value * weight
            elif entry.reduce_fx == "sum":
                total += value
            else:
                fold = min if entry.reduce_fx == "min" else max
                total = fold(total, value) if total_weight else value
            total_weight += weight
        self._values[entry.name] = entry, total, total_weight
        return _reduced(entry, total, total_weight)

    def clear(self) -> None:
        """Forget all values: an epoch begins."""
        self._values = {}

    def __iter__(self) -> Iterator[tuple[LogEntry, float]]:
        """Each name's entry and reduced value."""
        for entry, total, weight in self._values.values():
            if (value := _reduced(entry, total, weight)) is not None:
                yield entry, value

    def state_dict(self) -> list[dict[str, Any]]:
        """Return the state as JSON values, with numbers as strings: JSON has no NaN or infinity."""
        return [
            {"entry": asdict(entry), "total": str(total), "weight": str(weight)}
            for entry, total, weight in self._values.values()
        ]

    def load_state_dict(self, state: list[Mapping[str, Any]]) -> None:
        """Restore what `state_dict` returned."""
        entries = [(LogEntry(**saved["entry"]), float(saved["total"]), float(saved["weight"])) for saved in state]
        self._values = {entry.name: (entry, total, weight) for entry, total, weight in entries}


def _reduced(entry: LogEntry, total: float, weight: float) -> float | None:
    if not weight:
        return None
    return total / weight if entry.reduce_fx == "mean" else total
