"""Warn if a run resumed inside an epoch cannot continue exactly, because its batches or their order have changed.

This happens with a ``tf.data`` source or a PyTorch DataLoader that reshuffles in each pass, with a Keras ``PyDataset``
that does so in ``on_epoch_end``, and with a datamodule that is given another batch size.
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
    """Warn that a run resumed inside an epoch sees some of its batches again and others not at all.

    A new process starts with the order of the first epoch, so a seeded shuffle is resumed correctly in that one.
    """
    source, epoch = trainer.train_source, trainer.current_epoch
    verb = "has" if _loses_its_order(source, epoch) else "may have" if epoch and _counts_epochs(source) else None
    if trainer.batch_idx and verb is not None:
        _log.warning(
            "The rest of epoch %d %s a different order than without the interruption: the shuffling of tf.data, of a "
            "DataLoader and in a PyDataset's on_epoch_end cannot be resumed inside an epoch. To keep the order, use a "
            "data pipeline with epoch_batches (kgenre.training.EpochBatches, such as kgenre.ArrayDataset) or tf.data's "
            "shuffle(..., seed=1, reshuffle_each_iteration=False), which uses one order for all epochs.",
            epoch + 1,
            verb,
        )


def warn_of_other_batches(trainer: Trainer, then: Mapping[str, Any] | None) -> None:
    """Warn that a run resumed inside an epoch continues with batches of another composition.

    Args:
        trainer: the restored trainer.
        then: what the checkpoint keeps of its datamodule, see `class_and_hyperparameters`.
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
            "The rest of epoch %d is divided into batches differently from its beginning (%s): some examples appear "
            "twice in the epoch, others not at all.",
            trainer.current_epoch + 1,
            "; ".join(said),
        )


def _counts_epochs(source: Any) -> bool:
    """Whether a Keras PyDataset does something between epochs: almost always it shuffles."""
    if not (hasattr(source, "__getitem__") and hasattr(source, "on_epoch_begin")):
        return False
    users = [kind for kind in type(source).__mro__ if not kind.__module__.startswith("keras.")]
    return any(name in vars(kind) for kind in users for name in ("on_epoch_begin", "on_epoch_end"))


def _loses_its_order(source: Any, epoch: int) -> bool:
    sampler: Any = getattr(source, "sampler", None)  # of a torch.utils.data.DataLoader
    if type(sampler).__name__ in ("RandomSampler", "SubsetRandomSampler", "WeightedRandomSampler"):
        return bool(epoch) or sampler.generator is None
    # TensorFlow has no public API for this. Sources of other kinds have none of these attributes.
    reshuffles = getattr(source, "_reshuffle_each_iteration", None)
    if reshuffles and epoch:
        return True
    if reshuffles is not None and not (int(source._seed) or int(source._seed2)):  # nor tf.random.set_seed
        return True
    inputs = getattr(type(source), "_inputs", None)
    return inputs is not None and any(_loses_its_order(one, epoch) for one in inputs(source))
