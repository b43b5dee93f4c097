"""Inside an epoch a run cannot go on as if nothing had happened where its batches are others, or in another order.

So it is with a ``tf.data`` source or a DataLoader of PyTorch's that shuffles anew in each pass, and where a datamodule
is given another batch size.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kgenre.training.hyperparameters import changed_hyperparameters

if TYPE_CHECKING:
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


def warn_of_another_order(trainer: Trainer) -> None:
    """Say that a run which goes on inside an epoch sees some of its batches again and others not at all.

    A new program begins with the order of the first epoch, so there all is well where the shuffle has a seed.
    """
    if trainer.batch_idx and _loses_its_order(trainer.train_source, trainer.current_epoch):
        _log.warning(
            "The rest of epoch %d has another order than without the stop: a shuffle of tf.data's or of a DataLoader's "
            "knows only how often it was read. A source with epoch_batches (kgenre.training.EpochBatches, such as "
            "kgenre.ArrayDataset) has the same; so has tf.data's shuffle(..., seed=1, reshuffle_each_iteration=False), "
            "one order for all epochs.",
            trainer.current_epoch + 1,
        )


def warn_of_other_batches(trainer: Trainer, then: Mapping[str, Any] | None) -> None:
    """Say that a run which goes on inside an epoch goes on with batches of another cut than those that it has seen.

    Args:
        trainer: restored.
        then: what the checkpoint keeps of its datamodule, as of `described`.
    """
    if not trainer.batch_idx or trainer.datamodule is None:
        return
    changed = changed_hyperparameters(trainer.datamodule, then)
    said = [
        f"{name}={changed[name][1]!r}, was {changed[name][0]!r}"
        for name in trainer.datamodule.batch_arguments
        if name in changed
    ]
    if said:
        _log.warning(
            "The rest of epoch %d has other batches than it began with (%s): some examples come twice in it, others "
            "not at all.",
            trainer.current_epoch + 1,
            "; ".join(said),
        )


def _loses_its_order(source: Any, epoch: int) -> bool:
    sampler: Any = getattr(source, "sampler", None)  # of a torch.utils.data.DataLoader
    if type(sampler).__name__ == "RandomSampler":
        return bool(epoch) or sampler.generator is None
    # TensorFlow has no public way to ask. A source of another kind has none of these names.
    reshuffles = getattr(source, "_reshuffle_each_iteration", None)
    if reshuffles and epoch:
        return True
    if reshuffles is not None and not (int(source._seed) or int(source._seed2)):  # no seed, nor tf.random.set_seed
        return True
    inputs = getattr(type(source), "_inputs", None)
    return inputs is not None and any(_loses_its_order(one, epoch) for one in inputs(source))
