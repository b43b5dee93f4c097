"""Metrics in a list, for notebooks and tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kgenre.lightning_arguments import explain_arguments
from kgenre.loggers.logger import Logger


class InMemoryLogger(Logger):
    """Keeps metrics, hyperparameters and texts in memory.

    Example:
        >>> logger = InMemoryLogger()
        >>> Trainer(logger=logger).fit(module, batches)
        >>> logger.history("train/loss")
        [(50, 0.31), (100, 0.27)]
    """

    writes_files = False

    def __init__(self) -> None:
        super().__init__()
        self.records: list[tuple[int, dict[str, float]]] = []
        self.hyperparams: dict[str, Any] = {}
        self.texts: dict[str, str] = {}

    def open(self, run_dir: Path | None, resume_step: int | None = None) -> None:
        if resume_step is not None:
            known, self.records = self.records, []
            for step, metrics in known:
                if step == resume_step:
                    metrics = {name: value for name, value in metrics.items() if name.startswith("test/")}
                if step <= resume_step and metrics:
                    self.records.append((step, metrics))

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self.records.append((step, dict(metrics)))

    @explain_arguments
    def log_hyperparams(self, params: Mapping[str, Any]) -> None:
        self.hyperparams |= params

    def log_text(self, name: str, text: str, step: int) -> None:
        self.texts[name] = text

    def history(self, name: str) -> list[tuple[int, float]]:
        """Return all (step, value) pairs of a name, in the order in which they were logged."""
        return [(step, metrics[name]) for step, metrics in self.records if name in metrics]
