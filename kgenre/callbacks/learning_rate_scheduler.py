"""Set the learning rate from a function of the epoch or step."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from kgenre.callbacks.callback import Callback
from kgenre.callbacks.loss_watch import factor_of_rollbacks
from kgenre.callbacks.reject_schedules import reject_schedules
from kgenre.lightning_arguments import explain_arguments

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer


class LearningRateScheduler(Callback):
    """Sets the learning rate to ``schedule(index, learning_rate)`` before each epoch (or step), as in Keras.

    Where `TerminateOnNaN` or `SpikeDetection` has lowered the rate, ``schedule`` gets it without that factor, and what
    it returns is multiplied by it.

    Args:
        schedule: gets the index of the epoch (or of the optimizer update) and the current rate, returns the new one.
        interval: "epoch" or "step".
        frequency: set it every n epochs or steps; the index counts those.
        optimizer: the index of the optimizer whose rate is set; None: all.

    Raises:
        ValueError: another interval, a frequency below 1, or a function that does not take two arguments; (when the
            fit begins) there is no such optimizer.
        TypeError: (when training starts) the optimizer was given a Keras schedule, which sets the rate by itself, or
            the function returns None.

    Example:
        >>> LearningRateScheduler(lambda epoch, rate: rate * 0.9)
        >>> LearningRateScheduler(ConstantThenDecay(constant_epochs=10, decay=0.01))
    """

    @explain_arguments
    def __init__(
        self,
        schedule: Callable[[int, float], float],
        interval: Literal["epoch", "step"] = "epoch",
        frequency: int = 1,
        optimizer: int | None = None,
    ) -> None:
        if frequency < 1:
            raise ValueError(f"LearningRateScheduler(frequency=...) must be at least 1. Received: {frequency!r}")
        if not _takes_two(schedule):
            raise ValueError(
                "a scheduler must be a function (index, learning_rate) -> the new rate. For a function that returns a "
                "factor, as PyTorch's LambdaLR takes: lambda index, rate: base_rate * factor(index). "
                f"Received: {schedule!r}"
            )
        self.schedule = schedule
        self.interval = interval
        self.frequency = frequency
        self.optimizer = optimizer
        self._newest: int | None = None  # the epoch or update whose rate was set last

    def setup(self, trainer: Trainer, module: Module, stage: str) -> None:
        """Forget an earlier fit; a checkpoint's state is loaded later."""
        if stage == "fit":
            self._newest = None

    def on_fit_start(self, trainer: Trainer, module: Module) -> None:
        """Refuse an optimizer that does not exist, or has a schedule of its own."""
        count = len(trainer.optimizers)
        if self.optimizer is not None and not 0 <= self.optimizer < count:
            numbers = "0" if count == 1 else f"0 to {count - 1}"
            raise ValueError(
                f"LearningRateScheduler(optimizer=...) must be {numbers} for a module with {count} "
                f"optimizer{'s' * (count > 1)}, or None for all. Received: {self.optimizer!r}"
            )
        reject_schedules("LearningRateScheduler", trainer, self.optimizer)

    def on_train_epoch_start(self, trainer: Trainer, module: Module) -> None:
        """Set the epoch's rate."""
        # An epoch resumed in the middle already has its rate.
        if self.interval == "epoch" and trainer.batch_idx == 0:
            self._set(trainer, trainer.current_epoch)

    def next_step_needed(self, trainer: Trainer) -> float:
        """Request every update if the rate is set by step."""
        return math.inf if self.interval == "epoch" else trainer.global_step + 1

    def on_train_batch_start(self, trainer: Trainer, module: Module, batch: Any, batch_idx: int) -> None:
        """Set the step's rate."""
        if self.interval == "step" and batch_idx % trainer.accumulate_grad_batches == 0:
            self._set(trainer, trainer.global_step)

    def _set(self, trainer: Trainer, index: int) -> None:
        # A run that was saved where its step failed has the rate of that step already.
        if index % self.frequency or index == self._newest:
            return
        self._newest = index
        lowered = factor_of_rollbacks(trainer)  # a function of the index alone would undo it
        for position, rate in enumerate(trainer.learning_rates()):
            if self.optimizer in (None, position):
                new = self.schedule(index // self.frequency, rate / lowered)
                if new is None:
                    raise TypeError(f"The scheduler {self.schedule!r} returned None: it must return the new rate.")
                trainer.set_learning_rate(float(new) * lowered, position)

    def state_dict(self) -> dict[str, Any]:
        """The epoch or update whose rate was set last."""
        return {"newest": self._newest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it."""
        self._newest = state.get("newest")  # older states lack it


def _takes_two(schedule: Callable[..., float]) -> bool:
    try:
        inspect.signature(schedule).bind(0, 0.1)
    except ValueError:  # a function written in C may have no signature
        return True
    except TypeError:
        return False
    return True


class ConstantThenDecay:
    """The course's schedule: constant for ``constant_epochs``, then multiplied by exp(-decay) each epoch.

    Example:
        >>> schedule = ConstantThenDecay(constant_epochs=10, decay=0.01)
        >>> schedule(9, 1e-4), round(schedule(10, 1e-4), 8)
        (0.0001, 9.9e-05)
    """

    @explain_arguments
    def __init__(self, constant_epochs: int = 10, decay: float = 0.01) -> None:
        self.constant_epochs = constant_epochs
        self.decay = decay

    def __call__(self, epoch: int, learning_rate: float) -> float:
        """Return the rate of epoch ``epoch`` (from 0), given the previous epoch's rate."""
        return learning_rate if epoch < self.constant_epochs else learning_rate * math.exp(-self.decay)
