"""Reduce the learning rate when a logged value no longer improves."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, Literal

from kgenre.callbacks.callback import Callback
from kgenre.callbacks.logged_names import check_logged
from kgenre.callbacks.monitor import check_monitor, is_better, monitored, worst
from kgenre.callbacks.reject_schedules import reject_schedules
from kgenre.lightning_arguments import explain_arguments

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


class ReduceLROnPlateau(Callback):
    """Multiplies the learning rate by ``factor`` when ``monitor`` has not improved for ``patience`` validations.

    Counts as Keras does: the rate is reduced at the ``patience``-th validation without improvement (PyTorch's scheduler
    waits for one more). Without validation data it checks at the end of each epoch.

    Args:
        monitor: the logged value to watch.
        factor: the new rate is ``factor`` times the old one; between 0 and 1.
        patience: validations without improvement before the rate is reduced.
        mode: whether smaller ("min") or larger ("max") is better.
        min_delta: the smallest improvement that counts.
        cooldown: validations after a reduction that are not counted.
        min_lr: the lowest rate.

    Raises:
        ValueError: an invalid factor or count.
        TypeError: (when training starts) the optimizer was given a Keras schedule, which sets the rate by itself.
        MonitorError: another mode, no name, or the value is not logged: when training begins, where nothing but the
            steps can log it; else when it should be there.

    Example:
        >>> Trainer(callbacks=[ReduceLROnPlateau("val/loss", factor=0.5, patience=3)])
    """

    monitors = True

    @explain_arguments
    def __init__(
        self,
        monitor: str = "val/loss",
        factor: float = 0.1,
        patience: int = 10,
        mode: Literal["min", "max"] = "min",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        if not 0 < factor < 1:
            raise ValueError(f"ReduceLROnPlateau(factor=...) must be between 0 and 1. Received: {factor}")
        if patience < 1 or cooldown < 0 or min_lr < 0:
            raise ValueError(
                "ReduceLROnPlateau takes patience >= 1, cooldown >= 0 and min_lr >= 0. "
                f"Received: patience={patience}, cooldown={cooldown}, min_lr={min_lr}"
            )
        self.monitor = check_monitor("ReduceLROnPlateau", monitor)
        self.factor = factor
        self.patience = patience
        self.mode = mode
        self.min_delta = abs(min_delta)
        self.cooldown = cooldown
        self.min_lr = min_lr
        self.optimizer: int | None = None  # its index, set for a module's lr_scheduler; None: all
        self.best_score = worst(mode)
        self.wait_count = 0
        self.cooldown_count = 0

    @property
    def state_key(self) -> str:
        """One key per monitored value and optimizer."""
        number = "" if self.optimizer is None else f", optimizer {self.optimizer}"
        return f"ReduceLROnPlateau({self.monitor}{number})"

    def setup(self, trainer: Trainer, module: Module, stage: str) -> None:
        """Start counting from zero; a checkpoint's counts are loaded later."""
        if stage == "fit":
            self.best_score, self.wait_count, self.cooldown_count = worst(self.mode), 0, 0

    def on_fit_start(self, trainer: Trainer, module: Module) -> None:
        """Check that the rate can be set and the value is logged."""
        reject_schedules("ReduceLROnPlateau", trainer, self.optimizer)
        check_logged("ReduceLROnPlateau", self.monitor, trainer, module)

    def on_validation_end(self, trainer: Trainer, module: Module) -> None:
        """Check the value after a validation."""
        if trainer.stage == "fit" and not trainer.sanity_checking:
            self._check(trainer)

    def on_train_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """Check the value at the end of the epoch, if there is no validation."""
        # An incomplete epoch is not checked: the run may be resumed and complete it.
        if not trainer.schedule.validates and trainer.epoch_is_done:
            self._check(trainer)

    def _check(self, trainer: Trainer) -> None:
        value = monitored("ReduceLROnPlateau", self.monitor, trainer.callback_metrics)
        if self.cooldown_count:
            self.cooldown_count -= 1
            self.wait_count = 0
        if is_better(value, self.best_score, self.mode, self.min_delta):
            self.best_score, self.wait_count = value, 0
        elif not self.cooldown_count:
            self.wait_count += 1
            if self.wait_count >= self.patience:
                self._reduce(trainer)

    def _reduce(self, trainer: Trainer) -> None:
        for position, rate in enumerate(trainer.learning_rates()):
            if self.optimizer not in (None, position):
                continue
            smaller = max(rate * self.factor, self.min_lr)
            # The rate is float32: min_lr=0.1 comes back as 0.10000000149.
            if smaller < rate and not math.isclose(smaller, rate, rel_tol=1e-6):
                trainer.set_learning_rate(smaller, position)
                _log.info(
                    "%s has not improved on %.4g for %d validation%s: learning rate %.4g -> %.4g after epoch %d.",
                    self.monitor,
                    self.best_score,
                    self.wait_count,
                    "s" * (self.wait_count > 1),
                    rate,
                    smaller,
                    trainer.current_epoch + 1,
                )
        self.wait_count, self.cooldown_count = 0, self.cooldown

    def state_dict(self) -> dict[str, Any]:
        """The best score, the validations without improvement, and the cooldown left; the optimizer keeps the rate."""
        # JSON has no infinity: None means no value yet.
        best = self.best_score if math.isfinite(self.best_score) else None
        return {"best_score": best, "wait_count": self.wait_count, "cooldown_count": self.cooldown_count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue counting."""
        self.best_score = worst(self.mode) if state["best_score"] is None else state["best_score"]
        self.wait_count, self.cooldown_count = state["wait_count"], state["cooldown_count"]
