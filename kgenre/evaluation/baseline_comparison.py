"""A callback that fits the baselines and logs their metrics next to the model's."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kgenre.callbacks.callback import Callback
from kgenre.data.film_table import FilmTable
from kgenre.data.split import Split
from kgenre.evaluation.baseline_predictions import predict_baselines
from kgenre.evaluation.baselines import FrequencyBaseline, Top3Baseline
from kgenre.evaluation.bootstrap import bootstrap_metrics, interval, small_sample_warning
from kgenre.evaluation.comparison import compare_with_baselines, standing
from kgenre.evaluation.curve_state import curve_state, longer_would_help, written_curve
from kgenre.evaluation.metrics import HEADLINE_METRICS, multilabel_metrics
from kgenre.evaluation.random_order import compare_with_random_order
from kgenre.evaluation.same_top import same_top
from kgenre.evaluation.thresholds import Thresholds, tune_thresholds

if TYPE_CHECKING:
    from kgenre.evaluation.evaluation import Evaluation
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")

# In fit they are reference lines next to the model's curves: two metrics are enough.
_IN_FIT = ("loss", "map")
# The top-3 baseline predicts the same three genres for every film: hard decisions, not probabilities, so probability
# metrics do not apply.
_PROBABILITY_METRICS = ("loss", "map", "ap_micro", "roc_auc", "roc_auc_micro", "lrap", "coverage", "brier", "ece")
# The metrics whose difference to each baseline a test logs.
DIFFERENCES: tuple[str, ...] = ("loss", "map", "roc_auc", "f1_micro", "f1_macro", "tuned_f1_micro", "tuned_f1_macro")
DIFFERENCES += ("per_genre_tuned_f1_macro", "top3_hit")


class BaselineComparison(Callback):
    """Fits the baselines on the run's training films and logs their metrics next to the model's, on the same films.

    The metrics are ``val/baseline_frequency/loss``, ``test/baseline_tfidf/map`` and so on; a test also logs the
    difference (model minus baseline) with its bootstrap interval: ``test/difference/baseline_tfidf/map``, ``.../low``,
    ``.../high``. Loggers receive a few of them, ``metrics.json`` all. One line reports whether the model beats the
    genre frequencies. The baselines' thresholds are tuned on the validation films, like the model's. Needs a datamodule
    with ``table``, a `FilmTable`, and ``split``, a `Split`, such as `FilmData`, and a module with ``evaluation``, such
    as `GenreClassifier`; with others it logs nothing.
    """

    def __init__(self) -> None:
        self._films: tuple[Any, Any] = (None, None)  # the table and the split of what follows
        self._predicted: dict[str, tuple[np.ndarray, Thresholds | None]] = {}  # baseline -> its predictions, thresholds
        self._metrics: dict[str, dict[str, dict[str, float]]] = {}  # stage -> baseline -> metric -> value
        self._rows: dict[str, bytes] = {}  # stage -> the rows of the films measured, as bytes
        self._curve: list[dict[str, float]] = []  # of each validation of this fit: loss, map and training loss
        # `compare_with_random_order` of the validation with the lowest loss, unless that beats the genre frequencies
        self._best_chance: tuple[float, bool] | None = None

    def on_fit_start(self, trainer: Trainer, module: Module) -> None:
        """Fit the baselines now, not during the first validation."""
        if not trainer.resumed:
            self._curve, self._best_chance = [], None
        self._fit_baselines(trainer)

    def on_validation_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """Log the same values at each validation: a line to compare the curve with."""
        if not trainer.sanity_checking:
            self._log(trainer, module, "val")

    def on_test_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """Log the baselines' metrics next to the model's."""
        self._log(trainer, module, "test")

    def on_fit_end(self, trainer: Trainer, module: Module) -> None:
        """Log how the best validation compares with the baselines; the last, if no checkpoint is chosen by its loss."""
        if not self._curve:
            return
        evaluation = getattr(module, "evaluation", None)
        scores = (each.best_model_score for each in trainer.checkpoint_callbacks if each.monitor == "val/loss")
        best = next((score for score in scores if score is not None), None)
        title = "best validation"
        if best is None:
            title, metrics = "last validation", self._curve[-1]
            chance = _chance(metrics, evaluation)
        elif at_best := [at for at in self._curve if at.get("loss") == best]:
            metrics, chance = at_best[0], self._best_chance
        else:  # before the checkpoint of an older version, which has no curve
            metrics, chance = {"loss": best}, None
        falling = _still_falling(module, self._curve)
        self._log_comparison(metrics, "val", title, evaluation, chance, falling=falling)

    def on_validation_end(self, trainer: Trainer, module: Module) -> None:
        """Log the comparison after a validation outside fit; within fit, record the values for its end."""
        own, evaluation = self._own(trainer, "val"), getattr(module, "evaluation", None)
        if trainer.stage == "validate":
            self._log_comparison(own, "val", "validation", evaluation, _chance(own, evaluation))
        elif not trainer.sanity_checking:
            before = min((at["loss"] for at in self._curve if "loss" in at), default=math.inf)
            if own.get("loss", math.nan) < before:
                guess = self._metrics.get("val", {}).get(FrequencyBaseline.key, {}).get("loss")
                beaten = guess is None or standing(own["loss"], guess) == "better"
                self._best_chance = None if beaten else _chance(own, evaluation)
            self._curve.append({name: own[name] for name in ("loss", "map") if name in own})
            if "train/loss" in trainer.callback_metrics:
                self._curve[-1]["train"] = trainer.callback_metrics["train/loss"]

    def on_test_end(self, trainer: Trainer, module: Module) -> None:
        """Log the comparison on the test films, with its confidence interval."""
        intervals = self._log_differences(trainer, module)
        evaluation = getattr(module, "evaluation", None)
        own = self._own(trainer, "test")
        # The fit may have been another process's: the advice must be the same as there.
        falling = _still_falling(module, written_curve(trainer.run_dir) if trainer.run_dir is not None else [])
        self._log_comparison(own, "test", "test", evaluation, _chance(own, evaluation), intervals, falling)
        same = same_top(evaluation.prob, _genre_names(trainer)) if evaluation is not None and intervals else None
        if same is not None:
            _log.info("%s", same)

    def state_dict(self) -> dict[str, Any]:
        """Return the validations so far: a resumed fit ends with the same line as one without interruption."""
        # JSON has no NaN: a diverged loss is None.
        curve = [{name: v if math.isfinite(v) else None for name, v in at.items()} for at in self._curve]
        return {"curve": curve, "best_chance": self._best_chance}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the validations before the checkpoint."""
        curve, chance = state.get("curve", []), state.get("best_chance")  # older states lack them
        self._curve = [{name: math.nan if v is None else v for name, v in at.items()} for at in curve]
        self._best_chance = None if chance is None else (chance[0], chance[1])

    @staticmethod
    def _own(trainer: Trainer, stage: str) -> dict[str, float]:
        start = f"{stage}/"
        values = trainer.callback_metrics.items()
        return {n.removeprefix(start): v for n, v in values if n.startswith(start) and n.count("/") == 1}

    def _log_comparison(
        self,
        metrics: dict[str, float],
        stage: str,
        title: str,
        evaluation: Evaluation | None,
        chance: tuple[float, bool] | None,
        differences: dict[str, tuple[float, float]] | None = None,
        falling: bool | None = None,
    ) -> None:
        baselines = {key: values for key, values in self._metrics.get(stage, {}).items() if "loss" in values}
        if baselines and "loss" in metrics:
            line = compare_with_baselines(metrics, baselines, title, differences, falling, chance)
            doubt = small_sample_warning(len(evaluation.true), title.split()[-1]) if evaluation is not None else ""
            _log.info("%s", f"{line} {doubt}".rstrip())

    def _fit_baselines(self, trainer: Trainer) -> None:
        data: Any = trainer.datamodule
        table, split = getattr(data, "table", None), getattr(data, "split", None)
        if table is self._films[0] and split is self._films[1]:
            return
        from kgenre.engines.cache_folder import cache_folder

        self._predicted, self._metrics, self._rows = {}, {}, {}
        if isinstance(table, FilmTable) and isinstance(split, Split) and len(split.train) > 0:
            rows = split.validation
            for key, prob in predict_baselines(data, cache_folder() / "baselines").items():
                thresholds = tune_thresholds(table.genres[rows], prob[rows]) if len(rows) else None
                self._predicted[key] = prob, thresholds
        self._films = table, split

    def _log(self, trainer: Trainer, module: Module, stage: str) -> None:
        self._fit_baselines(trainer)
        evaluation = getattr(module, "evaluation", None)
        if evaluation is None or not self._predicted:
            return
        if self._rows.get(stage) != evaluation.rows.tobytes():
            self._rows[stage], self._metrics[stage] = evaluation.rows.tobytes(), {}
            for key, (prob, thresholds) in self._predicted.items():
                metrics = multilabel_metrics(evaluation.true, prob[evaluation.rows], thresholds=thresholds)
                left_out = _PROBABILITY_METRICS if key == Top3Baseline.key else ()
                self._metrics[stage][key] = {name: value for name, value in metrics.items() if name not in left_out}
        for key, metrics in self._metrics[stage].items():
            for name, value in metrics.items():
                if trainer.stage != "fit" or name in _IN_FIT:
                    # All of them would be too many for a table or curves: the others are only in metrics.json.
                    trainer.results.log(f"{stage}/baseline_{key}/{name}", value, logger=name in HEADLINE_METRICS)

        if stage == "test":  # some training films may be missing now
            trainer.results.log("test/baseline_films", len(self._films[1].train), logger=False)
        if stage == "test" and Top3Baseline.key in self._predicted:
            named = self._predicted[Top3Baseline.key][0][0] > 0  # which genres these are, for reports
            for genre in (name for name, chosen in zip(_genre_names(trainer), named, strict=True) if chosen):
                trainer.results.log(f"test/baseline_{Top3Baseline.key}/genre/{genre}", 1.0, logger=False)

    def _log_differences(self, trainer: Trainer, module: Module) -> dict[str, tuple[float, float]]:
        """Log the differences to each baseline; return the interval of that in loss, by baseline."""
        evaluation = getattr(module, "evaluation", None)
        if evaluation is None or not self._metrics.get("test"):
            return {}
        of_loss = {}
        rounds, own = evaluation.resampled(getattr(module, "thresholds", None)), self._own(trainer, "test")
        for key, (prob, thresholds) in self._predicted.items():
            theirs = self._metrics["test"][key]
            others = bootstrap_metrics(evaluation.true, prob[evaluation.rows], thresholds, pooled=False)
            for name in (name for name in DIFFERENCES if name in theirs and name in own):
                difference = own[name] - theirs[name]
                low, high = interval(rounds[name] - others[name], difference, is_difference=True)  # paired
                for end, number in (("", difference), ("/low", low), ("/high", high)):
                    trainer.results.log(f"test/difference/baseline_{key}/{name}{end}", number, logger=False)
                if name == "loss":
                    of_loss[key] = low, high
        return of_loss


def _chance(metrics: Mapping[str, float], evaluation: Evaluation | None) -> tuple[float, bool] | None:
    """Return `compare_with_random_order`; None if the predictions are unknown or no film has a genre."""
    if evaluation is None or math.isnan(metrics.get("map", math.nan)):
        return None
    return compare_with_random_order(evaluation)


def _still_falling(module: Module, curve: Sequence[Mapping[str, float]]) -> bool | None:
    if not curve or not all("loss" in at for at in curve):
        return None
    if getattr(module.hparams, "schedule", None) == "cosine":  # the loss flattened with the learning rate
        return None
    train = [at["train"] for at in curve if "train" in at]
    return longer_would_help(curve_state(train if len(train) == len(curve) else None, [at["loss"] for at in curve]))


def _genre_names(trainer: Trainer) -> tuple[str, ...]:
    data: Any = trainer.datamodule
    return tuple(data.table.genre_names)
