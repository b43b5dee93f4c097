"""Stop training when a logged value no longer improves."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, Literal

from kgenre.callbacks.callback import Callback
from kgenre.callbacks.logged_names import check_logged
from kgenre.callbacks.monitor import check_monitor, is_better, monitored, worst
from kgenre.lightning_arguments import explain_arguments

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


class EarlyStopping(Callback):
    """Ends training when ``monitor`` has not improved for ``patience`` validations.

    A run that it has ended trains nothing more when it is resumed, unless an argument such as ``patience`` has changed.

    Args:
        monitor: the logged value to watch.
        min_delta: the smallest improvement that counts; if negative, values that are worse by less count too.
        patience: validations without improvement before training stops.
        verbose: also log each improvement.
        mode: whether smaller ("min") or larger ("max") is better.
        strict: a value that was not logged is an error; False: a warning.
        check_finite: stop immediately if the value is NaN or infinite.
        stopping_threshold: stop immediately if the value is better than this.
        divergence_threshold: stop immediately if the value is worse than this.
        check_on_train_epoch_end: check at the end of training epochs, for a value that is logged there, instead of
            after validations.
        restore_best_weights: at the end of training, stopped early or not, restore the module's weights of the best
            validation, of which one copy is kept in host memory. The optimizer and checkpoints do not change; Ctrl-C
            leaves the newest weights; a resumed run knows only the weights since then.

    Raises:
        ValueError: ``patience`` is negative.
        MonitorError: no name, or (while training) the value was not logged.

    Example:
        >>> Trainer(callbacks=[EarlyStopping("val/loss", patience=5, restore_best_weights=True)])
    """

    monitors = True

    @explain_arguments
    def __init__(
        self,
        monitor: str = "val/loss",
        min_delta: float = 0.0,
        patience: int = 3,
        verbose: bool = False,
        mode: Literal["min", "max"] = "min",
        strict: bool = True,
        check_finite: bool = True,
        stopping_threshold: float | None = None,
        divergence_threshold: float | None = None,
        check_on_train_epoch_end: bool | None = False,
        restore_best_weights: bool = False,
    ) -> None:
        if patience < 0:
            raise ValueError(f"EarlyStopping(patience=...) must be at least 0. Received: {patience}")
        self.monitor = check_monitor("EarlyStopping", monitor)
        self.min_delta = min_delta
        self.patience = patience
        self.verbose = verbose
        self.strict = strict
        self.check_on_train_epoch_end = check_on_train_epoch_end
        self.mode = mode
        self.check_finite = check_finite
        self.stopping_threshold = stopping_threshold
        self.divergence_threshold = divergence_threshold
        self.restore_best_weights = restore_best_weights
        self.best_score = worst(mode)
        self.wait_count = 0
        self.stopped_epoch: int | None = None
        # NumPy arrays by structural name, their epoch and score.
        self._best: tuple[dict[str, Any], int, float] | None = None
        self._stop_withdrawn = False

    @property
    def state_key(self) -> str:
        """One key per monitored value."""
        return f"EarlyStopping({self.monitor})"

    def setup(self, trainer: Trainer, module: Module, stage: str) -> None:
        """Start counting from zero; a checkpoint's counts are loaded later."""
        if stage == "fit":
            self.best_score, self.wait_count, self.stopped_epoch = worst(self.mode), 0, None

    def on_fit_start(self, trainer: Trainer, module: Module) -> None:
        """Check that the value is logged, and whether it had ended the run that is resumed."""
        if self.strict:
            check_logged("EarlyStopping", self.monitor, trainer, module)
        if self.stopped_epoch is None or self.monitor not in trainer.callback_metrics:
            return
        reason = self._reason(trainer.callback_metrics[self.monitor])
        if reason is not None:
            _log.warning("Nothing is left to train: %s. Change EarlyStopping to train on.", reason)
            trainer.should_stop = True

    def on_train_start(self, trainer: Trainer, module: Module) -> None:
        """Drop the best weights of an earlier fit."""
        self._best = None

    def on_validation_end(self, trainer: Trainer, module: Module) -> None:
        """Check the value after a validation."""
        if trainer.stage == "fit" and not trainer.sanity_checking and not self.check_on_train_epoch_end:
            self._check(trainer)

    def on_train_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """Check the value at the end of the epoch, without validation or with ``check_on_train_epoch_end``."""
        # An incomplete epoch is not checked: the run may be resumed and complete it.
        if trainer.epoch_is_done and (self.check_on_train_epoch_end or not trainer.schedule.validates):
            self._check(trainer)

    def on_train_end(self, trainer: Trainer, module: Module) -> None:
        """Restore the best weights."""
        if not self.restore_best_weights or not math.isfinite(self.best_score):
            return
        if self._best is None:
            _log.warning(
                "EarlyStopping(restore_best_weights=True): the best %s (%.4f) was reached before this run was "
                "resumed, so the weights stay as they are. Load the best checkpoint of a ModelCheckpoint instead.",
                self.monitor,
                self.best_score,
            )
            return
        engine, (weights, epoch, score) = trainer.engine, self._best
        engine.load_state_dict(weights)
        arrays = engine.state_dict()
        for part in engine.built.parts:  # set `WeightAveraging`'s average too: it may replace the weights
            part.exchange(arrays)
        engine.load_state_dict(arrays | weights)
        self._best = None
        _log.info("Restored the weights of epoch %d: %s %.4f.", epoch + 1, self.monitor, score)

    def _check(self, trainer: Trainer) -> None:
        if not self.strict and self.monitor not in trainer.callback_metrics:
            _log.warning("EarlyStopping(strict=False): %s was not logged.", self.monitor)
            return
        value = monitored("EarlyStopping", self.monitor, trainer.callback_metrics)
        if is_better(value, self.best_score, self.mode, self.min_delta) and math.isfinite(value):
            if self.verbose:
                _log.info("%s improved from %.4g to %.4g.", self.monitor, self.best_score, value)
            self.best_score, self.wait_count = value, 0
            if self.restore_best_weights:
                self._keep_weights(trainer, value)
        else:
            self.wait_count += 1
        reason = self._reason(value)
        if reason is not None:
            # If min_epochs postpones the stop, log the reason only once.
            if not trainer.should_stop:
                _log.info("Stopping early after epoch %d: %s.", trainer.current_epoch + 1, reason)
            trainer.should_stop = True
            self.stopped_epoch = trainer.current_epoch

    def _reason(self, value: float) -> str | None:
        if self.check_finite and not math.isfinite(value):
            return f"{self.monitor} is {value}"
        if self.stopping_threshold is not None and is_better(value, self.stopping_threshold, self.mode):
            return f"{self.monitor} {value:.4f} is better than stopping_threshold={self.stopping_threshold}"
        if self.divergence_threshold is not None and is_better(self.divergence_threshold, value, self.mode):
            return f"{self.monitor} {value:.4f} is worse than divergence_threshold={self.divergence_threshold}"
        if self.wait_count and self.wait_count >= self.patience:
            waited = f"{self.wait_count} validation{'s' * (self.wait_count > 1)}"
            return f"{self.monitor} has not improved on {self.best_score:.4f} for {waited}"
        return None

    def _keep_weights(self, trainer: Trainer, score: float) -> None:
        weights, state = trainer.engine.built.variables, trainer.engine.state_dict()
        for part in trainer.engine.built.parts:  # the validated weights: with `WeightAveraging`, the average
            part.exchange(state)
        # Copies: an array may be a view of memory that the next step overwrites.
        self._best = {name: state[name].copy() for name in weights}, trainer.current_epoch, score

    def on_load_checkpoint(self, trainer: Trainer, module: Module, checkpoint: dict[str, Any]) -> None:
        """Withdraw a stop if training goes back to a checkpoint from before it."""
        if self._stop_withdrawn:
            trainer.should_stop = self._stop_withdrawn = False

    def state_dict(self) -> dict[str, Any]:
        """The best score, the validations without improvement, and the epoch of a stop."""
        # JSON has no infinity: None means no value yet.
        best = self.best_score if math.isfinite(self.best_score) else None
        return {"best_score": best, "wait_count": self.wait_count, "stopped_epoch": self.stopped_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue counting."""
        self.best_score = worst(self.mode) if state["best_score"] is None else state["best_score"]
        self._stop_withdrawn = self.stopped_epoch is not None and state["stopped_epoch"] is None
        self.wait_count, self.stopped_epoch = state["wait_count"], state["stopped_epoch"]
