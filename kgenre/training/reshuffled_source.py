"""A ``tf.data`` source that shuffles anew in each pass cannot be entered inside an epoch: its order is lost."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


def warn_of_another_order(trainer: Trainer) -> None:
    """Say that a run which goes on inside an epoch sees some of its batches again and others not at all.

    A new program begins with the order of the first epoch, so there all is well.
    """
    if trainer.current_epoch and trainer.batch_idx and _reshuffles(trainer.train_source):
        _log.warning(
            "The rest of epoch %d has another order than without the stop: a tf.data shuffle knows only how often it "
            "was read. A source with epoch_batches (kgenre.training.EpochBatches, such as kgenre.ArrayDataset) has the "
            "same; so has shuffle(..., seed=1, reshuffle_each_iteration=False), one order for all epochs.",
            trainer.current_epoch + 1,
        )


def _reshuffles(source: Any) -> bool:
    # TensorFlow has no public way to ask. A source of another kind has none of these names.
    if getattr(source, "_reshuffle_each_iteration", False) is True:
        return True
    inputs = getattr(type(source), "_inputs", None)
    return inputs is not None and any(map(_reshuffles, inputs(source)))
