"""Stop when the loss is NaN or infinite, or go back to a checkpoint from before it."""

from __future__ import annotations

import math

from kgenre.callbacks.loss_watch import LossWatch


class TerminateOnNaN(LossWatch):
    """Ends training when a training loss is NaN or infinite.

    One log line names the epoch and step, the logged values and the first variable that are not finite. Every loss is
    checked, up to ``every_n_steps`` batches late. Like every stop through ``trainer.should_stop`` it waits for
    ``min_epochs`` and ``min_steps``.

    Args:
        every_n_steps: check every n batches.
        max_rollbacks: how often training may go back to the newest checkpoint of this run that was written before the
            bad step and whose weights are finite, to continue from there with a lower learning rate; 0: it stops.
        rollback_factor: what the learning rate is multiplied by then.

    Raises:
        ValueError: an invalid argument.
        TypeError: (when training starts) with ``max_rollbacks``, the optimizer was given a Keras schedule.

    Example:
        >>> Trainer(callbacks=[TerminateOnNaN(max_rollbacks=3, rollback_factor=0.3)])
    """

    def problem(self, loss: float) -> str | None:
        """Report a loss that is NaN or infinite."""
        return None if math.isfinite(loss) else f"the training loss is {loss}"
