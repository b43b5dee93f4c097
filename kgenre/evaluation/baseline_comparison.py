"""The baselines beside every result of a run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kgenre.callbacks.callback import Callback
from kgenre.evaluation.baselines import FrequencyBaseline, TfidfBaseline
from kgenre.evaluation.comparison import compare_with_baselines
from kgenre.evaluation.metrics import multilabel_metrics

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


class BaselineComparison(Callback):
    """Fits the baselines on the run's training films and logs their metrics beside the model's, on the same films.

    Logged are ``val/baseline_frequency/loss``, ``test/baseline_tfidf/map`` and so on, and one line that says whether
    the model beats the genre frequencies. Needs a datamodule with ``table`` and ``split``, such as `FilmData`; with
    other data it stays silent. TF-IDF is left out where no training film has an overview.
    """

    def __init__(self) -> None:
        self._metrics: dict[str, dict[str, dict[str, float]]] = {}  # stage -> baseline -> metric -> value
        self._fitted: tuple[object, list[FrequencyBaseline | TfidfBaseline]] | None = None

    def on_fit_start(self, trainer: Trainer, module: Module) -> None:
        """Fit now, not during the first validation."""
        self._compute(trainer, "val")

    def on_validation_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """The same values at each validation: a line to compare the curve with."""
        self._log(trainer, "val")

    def on_test_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """Log them beside the model's."""
        self._log(trainer, "test")

    def on_fit_end(self, trainer: Trainer, module: Module) -> None:
        """Say how the best validation compares."""
        metrics = {name: value for name, value in self._own(trainer, "val").items() if name in ("loss", "map")}
        checkpoint = trainer.checkpoint_callback
        if checkpoint is not None and checkpoint.monitor == "val/loss" and checkpoint.best_model_score is not None:
            best = checkpoint.best_model_score
            metrics = metrics if metrics.get("loss") == best else {"loss": best}
        self._say(metrics, "val", "best validation")

    def on_validation_end(self, trainer: Trainer, module: Module) -> None:
        """Say it after a validation outside of training."""
        if trainer.stage == "validate":
            self._say(self._own(trainer, "val"), "val", "validation")

    def on_test_end(self, trainer: Trainer, module: Module) -> None:
        """Say it for the test films."""
        self._say(self._own(trainer, "test"), "test", "test")

    @staticmethod
    def _own(trainer: Trainer, stage: str) -> dict[str, float]:
        start = f"{stage}/"
        values = trainer.callback_metrics.items()
        return {n.removeprefix(start): v for n, v in values if n.startswith(start) and n.count("/") == 1}

    def _say(self, metrics: dict[str, float], stage: str, title: str) -> None:
        if self._metrics.get(stage) and "loss" in metrics:
            _log.info("%s", compare_with_baselines(metrics, self._metrics[stage], title))

    def _log(self, trainer: Trainer, stage: str) -> None:
        self._compute(trainer, stage)
        for key, metrics in self._metrics[stage].items():
            for name, value in metrics.items():
                # In fit they are lines beside the model's curves: two will do.
                if trainer.stage != "fit" or name in ("loss", "map"):
                    trainer.results.log(f"{stage}/baseline_{key}/{name}", value)

    def _compute(self, trainer: Trainer, stage: str) -> None:
        data = trainer.datamodule
        if stage in self._metrics and self._fitted is not None and self._fitted[0] is data:
            return
        self._metrics[stage] = {}
        if not (hasattr(data, "table") and hasattr(data, "split")):
            return
        table, rows = data.table, {"val": data.split.validation, "test": data.split.test}[stage]
        if len(data.split.train) == 0 or len(rows) == 0:
            return
        if self._fitted is None or self._fitted[0] is not data:
            training = table.subset(data.split.train)
            kinds = [FrequencyBaseline, *([TfidfBaseline] if any(training.overviews) else [])]
            self._fitted = data, [kind().fit(training.overviews, training.genres) for kind in kinds]
        films = table.subset(rows)
        self._metrics[stage] = {
            baseline.key: multilabel_metrics(films.genres, baseline.predict_proba(films.overviews))
            for baseline in self._fitted[1]
        }
