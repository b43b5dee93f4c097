"""Log the learning rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from kgenre.callbacks.callback import Callback
from kgenre.lightning_arguments import explain_arguments

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer


class LearningRateMonitor(Callback):
    """Logs ``lr-<optimizer>`` (with several of one class: ``lr-<optimizer>-<n>``), once an epoch or every n-th step.

    Args:
        logging_interval: "epoch", "step" (every ``log_every_n_steps``), or None for both.

    Raises:
        ValueError: another interval.

    Example:
        >>> Trainer(callbacks=[LearningRateMonitor("step")])
    """

    logs = ("lr-",)

    @explain_arguments
    def __init__(self, logging_interval: Literal["epoch", "step"] | None = "epoch") -> None:
        self.logging_interval = logging_interval
        # When the newest validation began: the updates so far, and the rates of the last one.
        self._before_validation: tuple[int, list[float]] = (-1, [])

    def setup(self, trainer: Trainer, module: Module, stage: str) -> None:
        """Forget an earlier fit; a checkpoint's state is loaded later."""
        if stage == "fit":
            self._before_validation = -1, []

    def on_validation_start(self, trainer: Trainer, module: Module) -> None:
        """Keep the rates: a plateau reduces them when the validation is over."""
        if trainer.stage == "fit" and self.logging_interval != "step":
            self._before_validation = trainer.global_step, trainer.learning_rates(of_newest_update=True)

    def on_train_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """Log the rate at the end of the epoch."""
        if self.logging_interval != "step":
            self._log_rates(trainer)

    def next_step_needed(self, trainer: Trainer) -> float:
        """Request no particular update."""
        return math.inf  # a call ends at log_every_n_steps anyway

    def on_train_batch_end(
        self, trainer: Trainer, module: Module, outputs: dict[str, Any], batch: Any, batch_idx: int
    ) -> None:
        """Log the rate of this step."""
        is_last = batch_idx + 1 == trainer.batch_idx  # of those that one call has run
        if self.logging_interval != "epoch" and trainer.logs_are_due and is_last:
            self._log_rates(trainer)

    def _log_rates(self, trainer: Trainer) -> None:
        names = [f"lr-{type(optimizer).__name__}" for optimizer in trainer.optimizers]
        step, rates = self._before_validation
        if step != trainer.global_step:
            rates = trainer.learning_rates(of_newest_update=True)
        for position, (name, rate) in enumerate(zip(names, rates, strict=True)):
            trainer.results.log(f"{name}-{position}" if names.count(name) > 1 else name, rate)

    def state_dict(self) -> dict[str, Any]:
        """The rates before the newest validation."""
        return {"before_validation": list(self._before_validation)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        step, rates = state.get("before_validation", (-1, []))  # older states lack it
        self._before_validation = step, rates
