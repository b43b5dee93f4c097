"""Find a learning rate before training, by a range test."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from kgenre.callbacks.callback import Callback
from kgenre.callbacks.reject_schedules import reject_schedules
from kgenre.callbacks.search import Search, SearchError, SoughtAttribute, run_trial
from kgenre.lightning_arguments import explain_arguments

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")
_ATTRIBUTES = ("lr", "learning_rate")
_DECAY = 0.98  # of the running mean of the loss


@dataclass
class RangeTest:
    """The loss as a function of the learning rate.

    ``results`` holds "lr" and "loss" of each update, the loss smoothed by a running mean (decay 0.98, bias corrected)
    as in Lightning; ``losses`` holds the raw values.
    """

    mode: Literal["exponential", "linear"]
    lr_min: float
    lr_max: float
    num_training: int
    results: dict[str, list[float]] = field(default_factory=lambda: {"lr": [], "loss": []}, repr=False)
    losses: list[float] = field(default_factory=list, repr=False)

    def suggestion(self, skip_begin: int = 10, skip_end: int = 1) -> float | None:
        """Return the rate at which the loss falls most steeply per update; None with too few values.

        Each slope is that of a least-squares line through the surrounding fifth of the values: it neither lags behind,
        as the slope of a running mean does, nor follows the noise between batches.

        Args:
            skip_begin: values left out at the beginning.
            skip_end: values left out at the end.
        """
        position = self._steepest(skip_begin, skip_end)
        if position is None:
            _log.warning(
                "No learning rate can be suggested from %d values. Train on more steps.", len(self.results["loss"])
            )
            return None
        return self.results["lr"][position]

    def _steepest(self, skip_begin: int = 10, skip_end: int = 1) -> int | None:
        import numpy as np

        losses = np.asarray(self.losses[skip_begin : len(self.losses) - skip_end])
        losses = losses[np.isfinite(losses)]  # the others come last: the test stops there
        side = max(1, len(losses) // 10)
        if len(losses) < 2 * side + 1:
            return None
        slopes = np.correlate(losses, np.arange(-side, side + 1), "valid")  # up to a constant factor
        return skip_begin + side + int(slopes.argmin())

    def plot(self, suggest: bool = False, show: bool = False, ax: Any = None) -> Any:
        """Plot the loss over the rate with Matplotlib; returns the figure (a notebook shows it twice without ``;``).

        Args:
            suggest: mark the suggestion.
            show: open a window.
            ax: where to draw; None: a new figure.
        """
        import matplotlib.pyplot as plt

        ax = plt.subplots()[1] if ax is None else ax
        ax.plot(self.results["lr"], self.results["loss"])
        ax.set(xlabel="Learning rate", ylabel="Loss", xscale="log" if self.mode == "exponential" else "linear")
        position = self._steepest()
        if suggest and position is not None:
            ax.plot(self.results["lr"][position], self.results["loss"][position], "o", color="red", markersize=10)
        if show:
            plt.show()
        return ax.figure


class LearningRateFinder(Search):
    """Runs a range test before a fit and sets the module's learning rate to its suggestion.

    The rate increases with each update, from ``min_lr`` to ``max_lr``; the suggestion is where the loss falls most
    steeply (https://arxiv.org/abs/1506.01186, section 3.3). Weights, optimizer and counters are restored afterwards. A
    resumed run keeps its rate.

    Args:
        min_lr: the first rate.
        max_lr: the last rate.
        num_training_steps: number of updates.
        mode: increase the rate by a factor ("exponential") or an amount ("linear").
        early_stop_threshold: stop when the smoothed loss is this many times the best one (or as far above it, if the
            best one is negative); None: never.
        update_attr: set the module's attribute, which its ``configure_optimizers`` must use.
        attr_name: its name; "": ``lr`` or ``learning_rate``, an attribute or a hyperparameter.

    Raises:
        ValueError: an invalid argument, or (when the fit begins) no such attribute, or several optimizers.
        TypeError: (when the fit begins) the optimizer was given a Keras schedule, which sets the rate by itself.

    Example:
        >>> finder = LearningRateFinder()
        >>> Trainer(callbacks=finder).fit(module, batches)
        >>> finder.optimal_lr.suggestion()
    """

    @explain_arguments
    def __init__(
        self,
        min_lr: float = 1e-8,
        max_lr: float = 1.0,
        num_training_steps: int = 100,
        mode: Literal["exponential", "linear"] = "exponential",
        early_stop_threshold: float | None = 4.0,
        update_attr: bool = True,
        attr_name: str = "",
    ) -> None:
        if not 0 < min_lr < max_lr < math.inf or num_training_steps < 2:
            raise ValueError(
                "A range test takes 0 < min_lr < max_lr < infinity and at least 2 steps. "
                f"Received: min_lr={min_lr}, max_lr={max_lr}, num_training_steps={num_training_steps}"
            )
        self.min_lr = min_lr
        self.max_lr = max_lr
        self.num_training_steps = num_training_steps
        self.mode = mode
        self.early_stop_threshold = early_stop_threshold
        self.update_attr = update_attr
        self.attr_name = attr_name
        self.optimal_lr: RangeTest | None = None

    def lr_find(self, trainer: Trainer, module: Module) -> RangeTest | None:
        """Run the test on the trainer's data, set its suggestion and return it; None with ``fast_dev_run``.

        Called in a hook of a fit, it sets the rate with which the fit goes on.
        """
        if trainer.fast_dev_run:
            _log.warning("The learning rate finder does nothing with fast_dev_run.")
            return None
        self.found = None
        if self.update_attr:
            self._attribute(module)  # raises an error if there is none
        test = RangeTest(self.mode, self.min_lr, self.max_lr, self.num_training_steps)
        run_trial(trainer, module, [_Recorder(test, self.early_stop_threshold)], test.num_training)
        self.optimal_lr = test
        suggestion = test.suggestion() if self.update_attr else None
        if suggestion is not None:
            self.use(trainer, module, suggestion)
            _log.info("Learning rate set to %.4g.", suggestion)
        return test

    def search(self, trainer: Trainer, module: Module) -> None:
        """Run the test before a fit."""
        self.lr_find(trainer, module)

    def use(self, trainer: Trainer, module: Module, found: float) -> None:
        """Set the module's learning rate, and in a hook of a fit that has begun its optimizer's."""
        self._attribute(module).set(found)
        self.found = found
        if trainer.state.status == "running" and trainer.schedule.training_batches:
            trainer.set_learning_rate(found)

    def _attribute(self, module: Module) -> SoughtAttribute:
        names = (self.attr_name,) if self.attr_name else _ATTRIBUTES
        return SoughtAttribute([module], names, "The learning rate finder")


class _Recorder(Callback):
    """Sets the learning rate of each update and records its loss."""

    def __init__(self, test: RangeTest, threshold: float | None) -> None:
        self.test = test
        self.threshold = threshold

    def on_fit_start(self, trainer: Trainer, module: Module) -> None:
        if len(trainer.optimizers) != 1:
            raise SearchError(f"A range test works with one optimizer. Received: {len(trainer.optimizers)}")
        reject_schedules("A range test", trainer)
        self._mean, self._best, self._seen = 0.0, math.inf, trainer.global_step

    def on_train_batch_start(self, trainer: Trainer, module: Module, batch: Any, batch_idx: int) -> None:
        if batch_idx % trainer.accumulate_grad_batches == 0:
            share = trainer.global_step / (self.test.num_training - 1)
            low, high = self.test.lr_min, self.test.lr_max
            growing = low * (high / low) ** share if self.test.mode == "exponential" else low + (high - low) * share
            trainer.set_learning_rate(growing)
            self._rate = growing

    def on_train_batch_end(
        self, trainer: Trainer, module: Module, outputs: dict[str, Any], batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self._seen or "loss" not in outputs:
            return
        self._seen = trainer.global_step
        loss = float(trainer.engine.to_host(outputs["loss"]))
        self._mean = _DECAY * self._mean + (1 - _DECAY) * loss
        smoothed = self._mean / (1 - _DECAY ** (len(self.test.results["loss"]) + 1))
        self.test.results["lr"].append(self._rate)
        self.test.results["loss"].append(smoothed)
        self.test.losses.append(loss)
        diverges = self.threshold is not None and smoothed - self._best > (self.threshold - 1) * abs(self._best)
        if diverges or not math.isfinite(smoothed):
            _log.info("The range test ended after %d updates: the loss diverges.", trainer.global_step)
            trainer.should_stop = True
        self._best = min(self._best, smoothed)
