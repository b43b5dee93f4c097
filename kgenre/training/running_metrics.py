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
