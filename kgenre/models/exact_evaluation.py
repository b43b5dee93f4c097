"""Exact metrics over all validation or test films, which a module computes from its collected predictions."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np

from kgenre.data.film_table import FilmTable
from kgenre.data.split import Split
from kgenre.evaluation import Thresholds, genre_metrics, intervals, multilabel_metrics, tune_thresholds
from kgenre.evaluation.evaluation import Evaluation
from kgenre.evaluation.film_predictions import write_predictions
from kgenre.evaluation.metrics import HEADLINE_METRICS
from kgenre.training import Module, TrainerError
from kgenre.training.data_module import iterate_epoch
from kgenre.training.limits import number_of_batches
from kgenre.training.run_folder import read_metrics

_log = logging.getLogger("kgenre")


class ExactEvaluation(Module):
    """A module whose metrics are computed once, from the predictions for all films of a validation or test pass.

    Its ``validation_step`` and ``test_step`` return a dict of "probabilities" and "genres", float (B, G), and "index"
    and "weight", (B,), as in the batches of `FilmData`; rows of weight 0 do not count. The module has a ``model``, and
    a name for each genre.

    Each validation of the run's own films tunes ``thresholds``, above which a genre counts as predicted; a checkpoint
    stores those tuned for its weights, if there are any, and `test` and `predict` use them. Without any, `test` tunes
    them on the run's validation films. Besides the metrics of `multilabel_metrics` (``test/loss``, ...) ``validate``
    and ``test`` log, for ``metrics.json`` only:

    - ``test/interval/<metric>/low`` and ``/high``: the 95 % bootstrap interval of each metric;
    - ``test/genre/<genre>/<metric>``: the metrics of `genre_metrics`;
    - ``test/films``: the number of films (``val/films`` in a fit, too);
    - ``test/threshold``: the tuned threshold that all genres share.

    ``test`` also writes ``predictions_test.csv``, see `write_predictions`.
    """

    model: Any  # a keras.Model
    genre_names: tuple[str, ...] = ()
    thresholds: Thresholds | None = None
    _tuned_at: int | None = None  # the fit's ``global_step`` when the thresholds were tuned
    _step_outputs: tuple[dict[str, Any], ...] = ()  # outputs of the pass's steps, on the device
    _evaluation: Evaluation | None = None

    def on_fit_start(self) -> None:
        """Discard the thresholds of an earlier fit, and log the numbers of films."""
        if not self.trainer.resumed:
            self.thresholds = self._tuned_at = None
        self._log_films("train", "validation")

    def teardown(self, stage: str) -> None:
        """Discard thresholds that were tuned for other weights than those that a fit leaves."""
        restored = stage == "fit" and any(stop.restore_best_weights for stop in self.trainer.early_stopping_callbacks)
        self.thresholds = None if restored else self._current_thresholds

    @property
    def _current_thresholds(self) -> Thresholds | None:
        """The ``thresholds``; None in a fit that has changed the weights since they were tuned."""
        trainer = self._trainer
        is_fitting = trainer is not None and trainer.state.fn == "fit" and trainer.state.stage is not None
        return None if is_fitting and self._tuned_at != self.global_step else self.thresholds

    def on_test_start(self) -> None:
        """Tune thresholds on the run's validation films if the weights have none: no validation was at their step."""
        data, engine = self.trainer.datamodule, self.trainer.engine
        split = getattr(data, "split", None)
        if self.thresholds is not None or data is None or data.results_name or not isinstance(split, Split):
            return
        if not len(split.validation) or "test" not in engine.built.entries:  # several test sets: "test/0", "test/1"
            return
        source: Any = data.val_dataloader()
        if not (limit := number_of_batches(source, self.trainer.limits["val"], "val")):
            return
        engine.pull()
        engine.start_epoch("test")
        batches = engine.prefetch(iterate_epoch(source, 0), limit=int(limit))
        self._step_outputs, self._evaluation = tuple(engine.eval_step("test", batch) for batch in batches), None
        engine.sync()
        evaluation = self._whole_evaluation()
        self.thresholds = tune_thresholds(evaluation.true, evaluation.prob)
        _log.info("The checkpoint has no thresholds: tuned on %d validation films.", len(evaluation.true))

    def on_validation_epoch_start(self) -> None:
        """Discard the previous evaluation."""
        self._step_outputs, self._evaluation = (), None

    def on_validation_batch_end(
        self, outputs: dict[str, Any], batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Collect the outputs; the tensors stay on the device."""
        if missing := [name for name in ("probabilities", "genres", "index", "weight") if name not in outputs]:
            raise TrainerError(
                f"The metrics need each film's {', '.join(missing)}: in the batches, as FilmData's have them, and in "
                "what validation_step and test_step return."
            )
        self._step_outputs += (outputs,)
        self._evaluation = None  # may have been read after an earlier batch

    def on_validation_epoch_end(self) -> None:
        """Tune the thresholds and log the metrics of the validation films."""
        own, data = self.thresholds, self.trainer.datamodule
        if not self.trainer.sanity_checking:
            evaluation = self._whole_evaluation()
            self.thresholds = tune_thresholds(evaluation.true, evaluation.prob)
            self._tuned_at = self.trainer.global_step
        self._log_metrics("val")
        if self.trainer.stage == "validate" and data is not None and data.results_name:  # not the run's own films
            self.thresholds = own

    on_test_epoch_start, on_test_batch_end = on_validation_epoch_start, on_validation_batch_end

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the test films and write their predictions, which replace those of an earlier test."""
        self._log_metrics("test")
        self._log_sizes()
        # A user's own data may have something else of this name.
        table, folder = getattr(self.trainer.datamodule, "table", None), self.trainer.results_dir
        if folder is None:
            return
        path = folder / "predictions_test.csv"
        if isinstance(table, FilmTable):
            evaluation = self._whole_evaluation()
            write_predictions(path, table.subset(evaluation.rows), evaluation.prob, self.thresholds)
        else:  # batches without a datamodule: which films they are is unknown
            path.unlink(missing_ok=True)

    @property
    def evaluation(self) -> Evaluation | None:
        """The predictions of the latest validation or test pass (during a pass, of its batches so far), or None."""
        if self._evaluation is None and self._step_outputs:
            steps = self.trainer.engine.to_host(self._step_outputs)
            real = np.concatenate([outputs["weight"] for outputs in steps]) > 0
            true, prob, rows = (
                np.concatenate([outputs[name] for outputs in steps])[real]
                for name in ("genres", "probabilities", "index")
            )
            self._evaluation = Evaluation(true > 0, prob.astype(np.float64), rows.astype(np.int64))
        return self._evaluation

    def _whole_evaluation(self) -> Evaluation:
        """Return the `evaluation` of a pass that has ended, and free the memory of its steps' outputs."""
        evaluation, self._step_outputs = self.evaluation, ()
        assert evaluation is not None, "the trainer rejects data without batches"
        return evaluation

    def _log_metrics(self, stage: str) -> None:
        evaluation = self._whole_evaluation()
        true, prob = evaluation.true, evaluation.prob
        fitting = self.trainer.stage == "fit"
        shown = ("loss", "map") if stage == "val" else ()
        metrics = multilabel_metrics(true, prob, thresholds=self.thresholds)
        for name, value in metrics.items():
            if not fitting or name in HEADLINE_METRICS:
                self.log(f"{stage}/{name}", value, prog_bar=name in shown, logger=name in HEADLINE_METRICS)
        self.log(f"{stage}/films", len(true), logger=False)
        if fitting:
            return
        details: dict[str, float] = {}
        if self.thresholds is not None:
            details["threshold"] = self.thresholds.overall
        for name, (low, high) in intervals(evaluation.resampled(self.thresholds), metrics).items():
            details |= {f"interval/{name}/low": low, f"interval/{name}/high": high}
        for name, values in genre_metrics(true, prob, thresholds=self.thresholds).items():
            details |= {f"genre/{g}/{name}": v for g, v in zip(self.genre_names, values, strict=True)}
        for name, value in details.items():
            self.log(f"{stage}/{name}", value, logger=False)

    def _log_sizes(self) -> None:
        """Log the sizes of the model and its data, for reports."""
        self.log("model/parameters", sum(math.prod(w.shape) for w in self.model.weights), logger=False)
        self._log_films("test")
        run, data = self.trainer.run_dir, self.trainer.datamodule
        # A fit has logged how many films it had, of which some may be missing now. `kgenre fuse` fits nothing.
        known = {} if run is None else read_metrics(run)
        if data is not None and not data.results_name:
            self._log_films(*(part for part in ("train", "validation") if f"data/{part}_films" not in known))

    def _log_films(self, *parts: str) -> None:
        split = getattr(self.trainer.datamodule, "split", None)
        for part in parts if isinstance(split, Split) else ():
            self.log(f"data/{part}_films", len(getattr(split, part)), logger=False)
