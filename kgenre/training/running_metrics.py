"""A metric that a step updates and nobody starts anew counts on, epoch after epoch: torchmetrics' users call it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from kgenre.engines.engine import Engine


class RunningMetrics:
    """Tells of the metrics that begin an epoch otherwise than they began the first."""

    def __init__(self) -> None:
        self._first: dict[str, list[np.ndarray[Any, Any]]] = {}  # by the attribute's name, as the first epoch began
        self._said: set[str] = set()
        self._counting: dict[int, str] = {}  # by a metric's id, the step whose epoch is not over

    def begin(self, engine: Engine, stage: str) -> None:
        """Warn of metrics that begin anew here although another stage, in the middle of its epoch, counts in them."""
        step = engine.built.step(stage).__name__
        for entry, metric in engine.built.metrics[stage].items():
            other = self._counting.setdefault(id(metric), step)
            if other != step and entry.name not in self._said:
                self._said.add(entry.name)
                warnings.warn(
                    f"{step} logs as {entry.name} a metric that {other} logs too, and begins inside its epoch: their "
                    "values get mixed. Give each a metric of its own.",
                    stacklevel=2,
                )

    def end(self, engine: Engine, stage: str) -> None:
        """A stage's values are read."""
        for metric in engine.built.metrics[stage].values():
            if self._counting.get(id(metric)) == engine.built.step(stage).__name__:
                del self._counting[id(metric)]

    def look(self, engine: Engine, stage: str) -> None:
        """The first batch of a stage is to come; hooks have been called."""
        for name, metric in engine.built.unlogged[stage].items():
            state = [engine.get_variable(variable) for variable in metric.variables]
            first = self._first.setdefault(f"{stage} {name}", state)
            if name not in self._said and not all(map(np.array_equal, first, state)):
                self._said.add(name)
                warnings.warn(
                    f"{engine.built.step(stage).__name__} updates the metric self.{name}, which counts on over all "
                    f"epochs, and so does what a call of it returns. self.log(..., self.{name}), the metric itself, "
                    f"starts it anew with each epoch; or call self.{name}.reset_state() in a hook.",
                    stacklevel=2,
                )
