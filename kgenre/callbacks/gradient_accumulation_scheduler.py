"""Change the number of accumulated batches at given epochs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kgenre.callbacks.callback import Callback

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer


class GradientAccumulationScheduler(Callback):
    """Sets ``accumulate_grad_batches`` at the beginning of epochs.

    Args:
        scheduling: epoch (from 0) -> batches per update from that epoch on; before the first one: 1.

    Raises:
        ValueError: an invalid dict, or (when the fit begins) the Trainer has ``accumulate_grad_batches`` too.

    Example:
        >>> GradientAccumulationScheduler({0: 8, 4: 2})  # epochs 0 to 3: 8 batches to an update, then 2
    """

    def __init__(self, scheduling: dict[int, int]) -> None:
        if not scheduling or any(
            not isinstance(epoch, int) or not isinstance(batches, int) or epoch < 0 or batches < 1
            for epoch, batches in scheduling.items()
        ):
            raise ValueError(
                "GradientAccumulationScheduler(scheduling=...) must be a dict of epochs (from 0) and batches (at least "
                f"1). Received: {scheduling!r}"
            )
        self.scheduling = dict(sorted(scheduling.items()))
        self._sets_number = False  # during a fit; not if the trainer has a number of its own

    def get_accumulate_grad_batches(self, epoch: int) -> int:
        """Return the batches per update in an epoch."""
        return next((batches for first, batches in reversed(self.scheduling.items()) if first <= epoch), 1)

    def setup(self, trainer: Trainer, module: Module, stage: str) -> None:
        """Prepare the step for the largest number of batches, before it is compiled."""
        if stage != "fit":
            return
        if trainer.accumulate_grad_batches != 1:
            raise ValueError(
                f"Trainer(accumulate_grad_batches={trainer.accumulate_grad_batches}) and a "
                "GradientAccumulationScheduler contradict each other. Drop one of them."
            )
        self._sets_number = True
        most = max(self.scheduling.values())
        trainer.step_options = replace(trainer.step_options, accumulate_grad_batches=most)

    def on_train_epoch_start(self, trainer: Trainer, module: Module) -> None:
        """Set the number for this epoch."""
        batches = self.get_accumulate_grad_batches(trainer.current_epoch)
        vars(trainer)["accumulate_grad_batches"] = batches  # the property refuses to be set during a fit
        trainer.schedule = replace(trainer.schedule, accumulate_grad_batches=batches)

    def teardown(self, trainer: Trainer, module: Module, stage: str) -> None:
        """Restore the trainer's setting."""
        if self._sets_number:
            trainer.accumulate_grad_batches, self._sets_number = 1, False
