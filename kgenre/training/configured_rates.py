"""Apply a learning rate that was changed in the configuration to a resumed run, whose checkpoint has the old one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kgenre.checkpoints import Checkpoint
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


def configured_rates(trainer: Trainer, checkpoint: Checkpoint | None) -> list[float | None]:
    """The initial learning rate of each optimizer of a fit; None: a Keras schedule, which no checkpoint replaces.

    An optimizer that the module keeps has the rate that an earlier fit ended with: a resumed fit takes its run's.
    """
    rates: list[float | None] = []
    then = checkpoint.state.get("configured_rates", []) if checkpoint is not None else []
    for position, (optimizer, rate) in enumerate(zip(trainer.optimizers, trainer.learning_rates(), strict=True)):
        is_used = bool(trainer.engine.get_variable(optimizer.iterations))
        now = None if callable(optimizer._learning_rate) else rate
        rates.append(then[position] if is_used and position < len(then) else now)
    return rates


def apply_changed_rates(trainer: Trainer, then: Sequence[float | None]) -> None:
    """Apply the learning rates that are configured now to a restored run that was started with others.

    Changes made by schedules and callbacks since are kept: the current rate is multiplied by new rate / old rate.

    Args:
        trainer: the restored trainer, whose optimizers have the checkpoint's rates.
        then: what `configured_rates` returned when the checkpoint's run was built; [] if the checkpoint lacks it.
    """
    now = trainer.configured_rates
    if len(now) != len(then):
        return
    for position, (new, old) in enumerate(zip(now, then, strict=True)):
        if new != old and new and old:
            rate = trainer.learning_rates()[position] * new / old
            trainer.set_learning_rate(rate, position)
            _log.warning(
                "Resuming with a learning rate of %g: %g is configured, but the run began with %g.",
                rate,
                new,
                old,
            )
