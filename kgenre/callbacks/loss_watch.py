"""Watch the training loss and act on it: the base class of `TerminateOnNaN` and `SpikeDetection`."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from kgenre.callbacks.callback import Callback
from kgenre.callbacks.reject_schedules import reject_schedules
from kgenre.checkpoints import Checkpoint, CheckpointError, checkpoints_by_age, read_checkpoint, write_checkpoint
from kgenre.lightning_arguments import explain_arguments

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


class LossWatch(Callback):
    """Checks every step's loss, a few steps late, and stops or rolls back where `problem` finds one.

    The losses stay on the device. Every ``every_n_steps`` batches all but the newest are fetched in one transfer, so
    that the device has a step to work on meanwhile; the rest are fetched at the end of the epoch. They are also checked
    before a `ModelCheckpoint` saves, so that no checkpoint is written after a bad loss.

    Args:
        every_n_steps: check every n batches.
        max_rollbacks: how often training may go back to the newest checkpoint of this run that was written before the
            bad step and whose weights are finite, to continue from there with a lower learning rate; 0: it stops.
        rollback_factor: what the learning rate is multiplied by then.

    Raises:
        ValueError: an invalid argument.
        TypeError: (when training starts) with ``max_rollbacks``, the optimizer was given a Keras schedule.
    """

    @explain_arguments
    def __init__(self, every_n_steps: int = 10, max_rollbacks: int = 0, rollback_factor: float = 0.5) -> None:
        name = type(self).__name__
        if every_n_steps < 1:
            raise ValueError(f"{name}(every_n_steps=...) must be at least 1. Received: {every_n_steps}")
        if max_rollbacks < 0 or not 0 < rollback_factor <= 1:
            raise ValueError(
                f"{name} takes max_rollbacks >= 0 and 0 < rollback_factor <= 1. Received: "
                f"max_rollbacks={max_rollbacks}, rollback_factor={rollback_factor}"
            )
        self.every_n_steps = every_n_steps
        self.max_rollbacks = max_rollbacks
        self.rollback_factor = rollback_factor
        self.rollbacks = 0
        self.stopped_step: int | None = None  # the ``global_step`` whose loss was the problem
        self._waiting: list[tuple[Any, int]] = []  # losses on the device and their steps
        self._updates = 0  # optimizer updates before the newest batch

    def problem(self, loss: float) -> str | None:
        """Return what is wrong with a loss, given the previous ones; None: nothing."""
        raise NotImplementedError

    def setup(self, trainer: Trainer, module: Module, stage: str) -> None:
        """Forget an earlier fit; a checkpoint's state is loaded later."""
        if stage == "fit":
            self.rollbacks, self._waiting, self.stopped_step = 0, [], None

    def on_fit_start(self, trainer: Trainer, module: Module) -> None:
        """With ``max_rollbacks`` refuse Keras schedules, whose rate cannot be lowered."""
        if self.max_rollbacks:
            reject_schedules(type(self).__name__, trainer)

    def on_train_epoch_start(self, trainer: Trainer, module: Module) -> None:
        """Start counting updates, also after a rollback."""
        self._updates = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, module: Module, outputs: dict[str, Any], batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss; every ``every_n_steps`` batches check the earlier ones."""
        step = trainer.global_step
        if "loss" in outputs:  # missing if the step skipped its batch
            # A batch that was only accumulated belongs to the next update: a checkpoint of the last update predates it.
            self._waiting.append((outputs["loss"], step + (step == self._updates)))
        self._updates = step
        if (batch_idx + 1) % self.every_n_steps == 0 and self._waiting:
            newest = self._waiting.pop()
            self._check(trainer)
            self._waiting.append(newest)

    def on_train_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """Check the remaining losses: their steps are done by now."""
        self._check(trainer)

    def on_save_checkpoint(self, trainer: Trainer, module: Module, checkpoint: dict[str, Any]) -> None:
        """Check before a checkpoint is written, which waits for the device anyway: a bad one must not be written."""
        self._check(trainer)

    def _check(self, trainer: Trainer) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting or trainer.has_diverged or trainer.pending_rollback is not None:
            return  # the first callback that finds a problem decides
        losses = trainer.engine.to_host([loss for loss, _ in waiting])
        for loss, (_, step) in zip(losses, waiting, strict=True):
            found = self.problem(float(loss))
            if found is not None:
                self._stop_or_roll_back(trainer, step, found)
                return

    def _stop_or_roll_back(self, trainer: Trainer, step: int, found: str) -> None:
        place = f"{found} at epoch {trainer.current_epoch + 1}, step {step}{_describe_non_finite(trainer)}"
        checkpoint = self._good_checkpoint(trainer, step) if self.rollbacks < self.max_rollbacks else None
        if checkpoint is None:
            trainer.should_stop = trainer.has_diverged = True
            self.stopped_step = step
            _log.error(
                "Stopping: %s. A common cause is a learning rate that is too high; Trainer(gradient_clip_val=1.0) "
                "limits single steps.",
                place,
            )
            return
        self.rollbacks += 1
        count = f"rollback {self.rollbacks} of {self.max_rollbacks}"
        _log.warning("Rolling back to %s (%s) with a lower learning rate: %s.", checkpoint.path, count, place)
        self._lower_rates(trainer, checkpoint)
        # Write it again, as the newest: a run stopped before its next save is resumed from it.
        assert checkpoint.path is not None  # it was read from the disk
        try:
            write_checkpoint(checkpoint, checkpoint.path)
        except OSError as error:
            _log.warning(
                "%s could not be updated (%s): training that is resumed from it has its old learning rate.",
                checkpoint.path,
                error,
            )
        trainer.pending_rollback = checkpoint

    def _lower_rates(self, trainer: Trainer, checkpoint: Checkpoint) -> None:
        """Change a checkpoint to what training goes on with: lower rates, and the number of rollbacks."""
        import numpy as np

        state = checkpoint.state["callbacks"].setdefault(self.state_key, self.state_dict() | {"rollbacks": 0})
        # It already has the rates of rollbacks before it was written.
        factor = self.rollback_factor ** (self.rollbacks - state["rollbacks"])
        state["rollbacks"] = self.rollbacks
        rates = {id(optimizer._learning_rate) for optimizer in trainer.optimizers}
        for name, variable in trainer.engine.built.optimizer_variables.items():
            if id(variable) in rates:
                rate = checkpoint.optimizer[name]
                checkpoint.optimizer[name] = np.asarray(float(rate) * factor, rate.dtype)

    def _good_checkpoint(self, trainer: Trainer, step: int) -> Checkpoint | None:
        import numpy as np

        for callback in trainer.checkpoint_callbacks:
            callback.finish()
        folders = checkpoints_by_age(trainer.run_dir / "checkpoints") if trainer.run_dir is not None else []
        for folder in folders:
            try:
                found = read_checkpoint(folder)
            except CheckpointError:
                continue
            finite = all(np.isfinite(array).all() for array in found.arrays.values() if array.dtype.kind == "f")
            if found.optimizer and found.state.get("global_step", math.inf) < step and finite:
                return found
        return None

    def state_dict(self) -> dict[str, Any]:
        """The number of rollbacks, and the losses not checked yet, as text because JSON has no infinity."""
        return {"rollbacks": self.rollbacks, "waiting": [[str(float(loss)), step] for loss, step in self._waiting]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the losses not checked yet; keep the larger count, as an older checkpoint has fewer rollbacks."""
        self.rollbacks = max(self.rollbacks, state["rollbacks"])
        self._waiting = [(float(loss), step) for loss, step in state["waiting"]]


def factor_of_rollbacks(trainer: Trainer) -> float:
    """Return what all rollbacks of a run have multiplied its learning rates by."""
    watches = (callback for callback in trainer.callbacks if isinstance(callback, LossWatch))
    return math.prod(watch.rollback_factor**watch.rollbacks for watch in watches)


def _describe_non_finite(trainer: Trainer) -> str:
    """Describe the logged values and the first variable that are not finite now."""
    import numpy as np

    logs = [name for name, value in trainer.callback_metrics.items() if not math.isfinite(value)]
    arrays = trainer.engine.state_dict()
    bad = [name for name, array in arrays.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
    parts = []
    if logs:
        parts.append(f"logged values that are not finite: {', '.join(logs[:4])}")
    if bad:
        parts.append(f"the first of {len(bad)} variables that are not finite: {bad[0]}")
    return f" ({'; '.join(parts)})" if parts else ""
