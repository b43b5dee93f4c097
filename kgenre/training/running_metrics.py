"""Warn of metrics that are never reset and so mix epochs, as happens when they are used like those of torchmetrics."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from kgenre.engines.engine import Engine


class RunningMetrics:
    """Warns of metrics that begin an epoch in another state than the first, and of metrics that two steps share."""

    def __init__(self) -> None:
        self._first: dict[str, list[np.ndarray[Any, Any]]] = {}  # stage and attribute -> state as the first epoch began
        self._warned: set[str] = set()
        self._counting: dict[int, str] = {}  # id of a metric -> the step whose epoch is not over

    def begin(self, engine: Engine, stage: str) -> None:
        """Warn of metrics that are reset here although another stage, in the middle of its epoch, is updating them."""
        step = engine.built.step(stage).__name__
        for entry, metric in engine.built.metrics[stage].items():
            other = self._counting.setdefault(id(metric), step)
            if other != step and entry.name not in self._warned:
                self._warned.add(entry.name)
                warnings.warn(
                    f"{step} logs as {entry.name} a metric that {other}, whose epoch is not over, logs too: their "
                    "values get mixed. Use a separate metric for each.",
                    stacklevel=2,
                )

    def end(self, engine: Engine, stage: str) -> None:
        """Record that a stage's epoch is over and its metrics are read."""
        for metric in engine.built.metrics[stage].values():
            if self._counting.get(id(metric)) == engine.built.step(stage).__name__:
                del self._counting[id(metric)]

    def check(self, engine: Engine, stage: str) -> None:
        """Check the metrics' states before the first batch of a stage's epoch, after the hooks."""
        for name, metric in engine.built.unlogged[stage].items():
            state = [engine.get_variable(variable) for variable in metric.variables]
            first = self._first.setdefault(f"{stage} {name}", state)
            if name not in self._warned and not all(map(np.array_equal, first, state)):
                self._warned.add(name)
                warnings.warn(
                    f"{engine.built.step(stage).__name__} updates the metric self.{name}, which is not reset between "
                    "epochs: its result, and what a call of it returns, cover all epochs so far. Log the metric "
                    f"itself, self.log(..., self.{name}), which resets it before each epoch, or call "
                    f"self.{name}.reset_state() in a hook.",
                    stacklevel=2,
                )
