"""Stop when a value no longer gets better."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from kgenre.callbacks.callback import Callback
from kgenre.callbacks.monitor import check_mode, is_better, monitored, worst

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


class EarlyStopping(Callback):
    """Ends training when ``monitor`` has not improved for ``patience`` validations.

    Args:
        monitor: the logged value to watch.
        min_delta: an improvement counts when it is larger than this.
        patience: validations without improvement to wait for.
        mode: whether smaller ("min") or larger ("max") is better.
        check_finite: stop at once when the value is NaN or infinite.

    Raises:
        MonitorError: (while training) the value was not logged.

    Example:
        >>> Trainer(callbacks=[EarlyStopping("val/loss", patience=5)])
    """

    monitors = True

    def __init__(
        self,
        monitor: str = "val/loss",
        min_delta: float = 0.0,
        patience: int = 3,
        mode: str = "min",
        check_finite: bool = True,
    ) -> None:
        self.monitor = monitor
        self.min_delta = abs(min_delta)
        self.patience = patience
        self.mode = check_mode("EarlyStopping", mode)
        self.check_finite = check_finite
        self.best_score = worst(mode)
        self.wait_count = 0
        self.stopped_epoch: int | None = None

    @property
    def state_key(self) -> str:
        """One state for each watched value."""
        return f"EarlyStopping({self.monitor})"

    def on_validation_end(self, trainer: Trainer, module: Module) -> None:
        """Look at the value where validation logs it."""
        if trainer.stage == "fit" and not trainer.sanity_checking:
            self._look(trainer)

    def on_train_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """Without validation, look at the end of the epoch."""
        if not trainer.schedule.validates:
            self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        value = monitored("EarlyStopping", self.monitor, trainer.callback_metrics)
        if self.check_finite and not math.isfinite(value):
            self._stop(trainer, f"{self.monitor} is {value}")
        elif is_better(value, self.best_score, self.mode, self.min_delta):
            self.best_score, self.wait_count = value, 0
        else:
            self.wait_count += 1
            if self.wait_count >= self.patience:
                self._stop(
                    trainer,
                    f"{self.monitor} has not improved on {self.best_score:.4f} for {self.wait_count} validations",
                )

    def _stop(self, trainer: Trainer, reason: str) -> None:
        trainer.should_stop = True
        self.stopped_epoch = trainer.current_epoch
        _log.info("Stopping early after epoch %d: %s.", trainer.current_epoch, reason)

    def state_dict(self) -> dict[str, Any]:
        """Best value and patience used."""
        # JSON has no infinity: no value yet is None.
        best = self.best_score if math.isfinite(self.best_score) else None
        return {"best_score": best, "wait_count": self.wait_count, "stopped_epoch": self.stopped_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting."""
        self.best_score = worst(self.mode) if state["best_score"] is None else state["best_score"]
        self.wait_count, self.stopped_epoch = state["wait_count"], state["stopped_epoch"]
