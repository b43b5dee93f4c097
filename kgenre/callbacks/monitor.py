"""Look up a monitored value, and compare two of its values."""

from __future__ import annotations

import math
from collections.abc import Mapping

from kgenre.users_code import ShortTraceback


class MonitorError(ShortTraceback, ValueError):
    """A callback's monitored value was not logged, or has no name."""


def check_monitor(callback: str, monitor: str) -> str:
    """Return the monitor if it is a name."""
    if not monitor:
        raise MonitorError(
            f"{callback}(monitor=...) must be the name of a logged value, such as 'val/loss'. Received: {monitor!r}"
        )
    return monitor


def worst(mode: str) -> float:
    """Return a value that any other beats."""
    return math.inf if mode == "min" else -math.inf


def is_better(value: float, best: float, mode: str, min_delta: float = 0.0) -> bool:
    """Whether ``value`` beats ``best`` by more than ``min_delta``; NaN never does."""
    return value < best - min_delta if mode == "min" else value > best + min_delta


def monitored(callback: str, monitor: str, metrics: Mapping[str, float]) -> float:
    """Return the monitored value.

    Raises:
        MonitorError: it was not logged; the message lists what was logged.
    """
    if monitor not in metrics:
        known = ", ".join(sorted(metrics)) or "nothing"
        raise MonitorError(f"{callback}(monitor={monitor!r}): no such value was logged. Logged so far: {known}.")
    return metrics[monitor]
