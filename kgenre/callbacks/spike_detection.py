"""Detect a loss that jumps away from the previous ones."""

from __future__ import annotations

import math
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Literal

from kgenre.callbacks.loss_watch import LossWatch
from kgenre.lightning_arguments import explain_arguments

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer


class SpikeDetection(LossWatch):
    """Stops, or goes back to a checkpoint, when a training loss is far from the mean of the previous ones.

    Lightning's callback of this name raises an error instead and has ``exclude_batches_path``, for data that are read
    by index; the rest of its arguments are the same. A loss is a spike if it is worse than the mean of the last
    ``window`` losses by more than ``atol`` and also more than ``rtol`` times the size of the mean.

    Args:
        mode: "min" where a smaller loss is better, or "max".
        window: losses in the running mean.
        warmup: number of losses before the first check.
        atol: the largest absolute difference that is not a spike; None: only ``rtol`` counts.
        rtol: the largest difference relative to the mean that is not a spike; None: only ``atol`` counts.
        finite_only: NaN and infinities are spikes too.
        every_n_steps: check every n batches.
        max_rollbacks: how often training may go back, as in `TerminateOnNaN`; 0: it stops.
        rollback_factor: what the learning rate is multiplied by then.

    Raises:
        ValueError: an invalid argument.
        TypeError: (when training starts) with ``max_rollbacks``, the optimizer was given a Keras schedule.

    Example:
        >>> Trainer(callbacks=[SpikeDetection(window=50, rtol=3.0, max_rollbacks=2)])
    """

    @explain_arguments
    def __init__(
        self,
        mode: Literal["min", "max"] = "min",
        window: int = 10,
        warmup: int = 1,
        atol: float | None = None,
        rtol: float | None = 2.0,
        finite_only: bool = True,
        every_n_steps: int = 10,
        max_rollbacks: int = 0,
        rollback_factor: float = 0.5,
    ) -> None:
        super().__init__(every_n_steps, max_rollbacks, rollback_factor)
        if window < 1 or warmup < 1 or (atol is None and rtol is None) or min(atol or 0, rtol or 0) < 0:
            raise ValueError(
                "SpikeDetection takes window >= 1, warmup >= 1, and atol or rtol, at least 0. Received: "
                f"window={window}, warmup={warmup}, atol={atol}, rtol={rtol}"
            )
        self.mode = mode
        self.warmup = warmup
        self.atol = atol
        self.rtol = rtol
        self.finite_only = finite_only
        self._last: deque[float] = deque(maxlen=min(window, sys.maxsize))
        self._seen = 0

    def setup(self, trainer: Trainer, module: Module, stage: str) -> None:
        """Forget the running mean of an earlier fit."""
        super().setup(trainer, module, stage)
        if stage == "fit":
            self._last.clear()
            self._seen = 0

    def problem(self, loss: float) -> str | None:
        """Report a loss far worse than the running mean; any other finite loss enters the mean."""
        if not math.isfinite(loss):
            return f"the training loss is {loss}" if self.finite_only else None
        mean = math.fsum(self._last) / len(self._last) if self._last else loss
        worse = loss - mean if self.mode == "min" else mean - loss
        limits = [*([self.atol] if self.atol is not None else []), *([self.rtol * abs(mean)] if self.rtol else [])]
        if self._seen >= self.warmup and worse > max(limits, default=0.0):
            return f"the training loss jumped to {loss:.4g} from a mean of {mean:.4g}"
        self._seen += 1
        self._last.append(loss)
        return None

    def state_dict(self) -> dict[str, Any]:
        """Add the losses in the running mean."""
        return super().state_dict() | {"last": list(self._last), "seen": self._seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the running mean."""
        super().load_state_dict(state)
        self._last.clear()
        self._last.extend(state["last"])
        self._seen = state["seen"]
