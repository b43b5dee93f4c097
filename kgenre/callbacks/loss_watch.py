"""What watches the training loss and acts on it: the ground of `TerminateOnNaN` and `SpikeDetection`."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from kgenre.callbacks.callback import Callback
from kgenre.callbacks.learning_rate_scheduler import refuse_schedules
from kgenre.checkpoints import Checkpoint, CheckpointError, checkpoints_by_age, read_checkpoint, write_checkpoint

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


class LossWatch(Callback):
    """Looks at every step's loss, a few steps late, and stops or goes back where `problem` finds one.

    The losses stay on the device; every ``every_n_steps`` batches and at the end of an epoch those of the steps before
    the newest are fetched in one transfer, so that the device always has a step to work on meanwhile. They are looked
    at before a `ModelCheckpoint` saves too: what it keeps comes from before the problem.

    Args:
        every_n_steps: batches from one look to the next.
        max_rollbacks: how often training may go back to the newest checkpoint of this run that was written before the
            bad step and whose weights are finite, to continue from there with a lower learning rate; 0: it stops.
        rollback_factor: what the learning rate is multiplied by then.

    Raises:
        ValueError: an invalid argument.
        TypeError: (when training starts) with ``max_rollbacks``, the optimizer was given a Keras schedule.
    """

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
        self._rollbacks_then = 0  # when the checkpoint was written that this run goes on from
        self.stopped_step: int | None = None  # the ``global_step`` whose loss was the problem
        self._waiting: list[tuple[Any, int]] = []  # losses on the device and their steps
        self._updates = 0  # of the optimizer, before the newest batch

    def problem(self, loss: float) -> str | None:
        """What is wrong with a loss, given those before it; None: nothing."""
        raise NotImplementedError

    def on_fit_start(self, trainer: Trainer, module: Module) -> None:
        """Nothing is known yet of a new run; a schedule would not let the rate be lowered."""
        self.stopped_step = None
        if not trainer.resumed:
            self.rollbacks, self._rollbacks_then, self._waiting = 0, 0, []
        if self.max_rollbacks:
            refuse_schedules(type(self).__name__, trainer)
            self._lower_rates(trainer)  # the run that went back was stopped before it saved anything

    def on_train_epoch_start(self, trainer: Trainer, module: Module) -> None:
        """Know where the count of updates begins, also after going back."""
        self._updates = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, module: Module, outputs: dict[str, Any], batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss; every n-th time look at those before."""
        step = trainer.global_step
        if "loss" in outputs:  # a step may skip its batch
            # A batch that is only accumulated is of the next update: a checkpoint of the last one is from before it.
            self._waiting.append((outputs["loss"], step + (step == self._updates)))
        self._updates = step
        if (batch_idx + 1) % self.every_n_steps == 0 and self._waiting:
            newest = self._waiting.pop()
            self._look(trainer)
            self._waiting.append(newest)

    def on_train_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """Look at what is left: its steps are done by now."""
        self._look(trainer)

    def on_save_checkpoint(self, trainer: Trainer, module: Module, checkpoint: dict[str, Any]) -> None:
        """Look before a checkpoint is written, which waits for the device anyway: one that is bad is not."""
        self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting or trainer.going_back is not None:
            return
        losses = trainer.engine.to_host([loss for loss, _ in waiting])
        for loss, (_, step) in zip(losses, waiting, strict=True):
            found = self.problem(float(loss)) if self.stopped_step is None else None
            if found is not None:
                self._act(trainer, step, found)
                return

    def _act(self, trainer: Trainer, step: int, found: str) -> None:
        place = f"{found} at epoch {trainer.current_epoch + 1}, step {step}{_culprits(trainer)}"
        checkpoint = self._good_checkpoint(trainer, step) if self.rollbacks < self.max_rollbacks else None
        if checkpoint is None:
            trainer.should_stop = trainer.has_diverged = True
            self.stopped_step = step
            _log.error(
                "Stopping: %s. Often a learning rate that is too high; Trainer(gradient_clip_val=1.0) limits single "
                "steps.",
                place,
            )
            return
        self.rollbacks += 1
        again = f"{self.rollbacks} of {self.max_rollbacks} times"
        _log.warning("Going back to %s (%s) with a lower learning rate: %s.", checkpoint.path, again, place)
        self._note(checkpoint)
        trainer.going_back = checkpoint, lambda: self._lower_rates(trainer)

    def _lower_rates(self, trainer: Trainer) -> None:
        # The checkpoint may be from after an earlier return, with a rate that is lower already.
        factor = self.rollback_factor ** (self.rollbacks - self._rollbacks_then)
        for position, rate in enumerate(trainer.learning_rates()):
            trainer.set_learning_rate(rate * factor, position)

    def _note(self, checkpoint: Checkpoint) -> None:
        # As the newest one again, which a run that is stopped before it saves goes on from, and knows how often.
        checkpoint.state.setdefault("rollbacks", {})[self.state_key] = self.rollbacks
        assert checkpoint.path is not None  # it was read
        try:
            write_checkpoint(checkpoint, checkpoint.path)
        except OSError as error:
            _log.warning("%s does not know of it: it cannot be written (%s).", checkpoint.path, error)

    def on_load_checkpoint(self, trainer: Trainer, module: Module, checkpoint: dict[str, Any]) -> None:
        """Count the times that training went back to this very checkpoint."""
        self.rollbacks = max(self.rollbacks, checkpoint.get("rollbacks", {}).get(self.state_key, 0))

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
        """How often training went back, and the losses that wait to be looked at; JSON has no infinity: as text."""
        return {"rollbacks": self.rollbacks, "waiting": [[str(float(loss)), step] for loss, step in self._waiting]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """A checkpoint that training goes back to knows of fewer times than there were."""
        self._rollbacks_then = state["rollbacks"]
        self.rollbacks = max(self.rollbacks, self._rollbacks_then)
        self._waiting = [(float(loss), step) for loss, step in state["waiting"]]


def _culprits(trainer: Trainer) -> str:
    """Which logged values and which variable are not finite by now."""
    import numpy as np

    logs = [name for name, value in trainer.callback_metrics.items() if not math.isfinite(value)]
    arrays = trainer.engine.state_dict()
    bad = [name for name, array in arrays.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
    parts = []
    if logs:
        parts.append(f"logged values that are not finite: {', '.join(logs[:4])}")
    if bad:
        parts.append(f"the first of {len(bad)} such variables is {bad[0]}")
    return f" ({'; '.join(parts)})" if parts else ""
