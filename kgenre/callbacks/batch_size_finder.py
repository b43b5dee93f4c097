"""Find the largest batch size that fits into memory."""

from __future__ import annotations

import copy
import gc
import logging
from typing import TYPE_CHECKING, Literal

from kgenre.callbacks.search import Search, SearchError, SoughtAttribute, run_trial
from kgenre.engines.out_of_memory import is_out_of_memory
from kgenre.lightning_arguments import explain_arguments
from kgenre.users_code import ShortTraceback

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


class NothingFitsError(ShortTraceback, MemoryError):
    """Even the smallest batch does not fit into memory."""


class BatchSizeFinder(Search):
    """Doubles the batch size until memory is exceeded or one batch holds all data, then trains with the largest size.

    Each size is tried with a few updates; weights, optimizer and counters are restored afterwards. A resumed run keeps
    its size. The data source must be created from the attribute: in the ``train_dataloader`` of the datamodule or
    of the module itself.

    Args:
        mode: "power": only double; "binsearch": then search between the last that fits and the first that does not.
        steps_per_trial: updates with each size.
        init_val: the first size.
        max_trials: sizes to try at most.
        batch_arg_name: the attribute or hyperparameter of module or datamodule; if both have it, it is set in both.
        margin: with "binsearch" the size found is reduced by this share, for safety.
        max_val: the largest size to try.

    Raises:
        ValueError: an invalid argument, or (when the fit begins) no such attribute, or batches given instead of a
            source that creates them.
        NothingFitsError: not even a batch of one fits; a MemoryError.

    Example:
        >>> finder = BatchSizeFinder(mode="binsearch")
        >>> Trainer(callbacks=finder).fit(module, datamodule=data)
        >>> finder.optimal_batch_size
    """

    @explain_arguments
    def __init__(
        self,
        mode: Literal["power", "binsearch"] = "power",
        steps_per_trial: int = 3,
        init_val: int = 2,
        max_trials: int = 25,
        batch_arg_name: str = "batch_size",
        margin: float = 0.05,
        max_val: int = 8192,
    ) -> None:
        if min(steps_per_trial, init_val, max_trials) < 1 or not 0 <= margin < 1 or max_val < init_val:
            raise ValueError(
                "The batch size finder takes steps_per_trial, init_val and max_trials >= 1, 0 <= margin < 1, "
                f"max_val >= init_val. Received: steps_per_trial={steps_per_trial}, init_val={init_val}, "
                f"max_trials={max_trials}, margin={margin}, max_val={max_val}"
            )
        self.mode = mode
        self.steps_per_trial = steps_per_trial
        self.init_val = init_val
        self.max_trials = max_trials
        self.batch_arg_name = batch_arg_name
        self.margin = margin
        self.max_val = max_val

    @property
    def optimal_batch_size(self) -> int | None:
        """The size that was found."""
        return self.found

    def scale_batch_size(self, trainer: Trainer, module: Module) -> int | None:
        """Try sizes, set and return the largest that fits; None with ``fast_dev_run``.

        Called in a hook of a fit, it sets the size of the following epochs.
        """
        if trainer.fast_dev_run:
            _log.warning("The batch size finder does nothing with fast_dev_run.")
            return None
        if trainer.data is None:
            raise SearchError(
                "The batch size finder needs a data pipeline that it can build again with each size: pass a "
                "datamodule, not batches."
            )
        attribute, trial = self._attribute(trainer, module), copy.copy(trainer)
        trial.limits = trainer.limits | {"train": None}  # a limit would hide that a batch holds all data
        try:
            size = self._largest(trial, module, attribute)
        except BaseException:
            attribute.restore()
            raise
        self.use(trainer, module, size)
        _log.info("%s set to %d.", attribute.name, size)
        return size

    def search(self, trainer: Trainer, module: Module) -> None:
        """Try sizes before a fit."""
        self.scale_batch_size(trainer, module)

    def use(self, trainer: Trainer, module: Module, found: int) -> None:
        """Set the batch size of module and datamodule."""
        self._attribute(trainer, module).set(found)
        self.found = found
        trainer.loaded_in_epoch = -1  # a fit that has begun loads its sources anew

    def _attribute(self, trainer: Trainer, module: Module) -> SoughtAttribute:
        return SoughtAttribute([module, trainer.datamodule], [self.batch_arg_name], "The batch size finder")

    def _largest(self, trainer: Trainer, module: Module, attribute: SoughtAttribute) -> int:
        """Try sizes, and return the largest that fits; the attribute is left at the last that was tried."""
        size, fits, too_large = self.init_val, None, None
        for _ in range(self.max_trials):
            attribute.set(size)
            outcome = self._outcome(trainer, module, size)
            fits, too_large = (size, too_large) if outcome != "memory" else (fits, size)
            if outcome == "whole" or (self.mode == "power" and too_large is not None and fits is not None):
                break
            if too_large is None:
                if size >= self.max_val:
                    break
                size = min(2 * size, self.max_val)
            else:
                size = too_large // 2 if fits is None else (fits + too_large) // 2
                if size in (0, fits):
                    break
        if fits is None:
            raise NothingFitsError(f"The batch size finder: out of memory even with {attribute.name}={too_large}.")
        if self.mode == "binsearch" and too_large is not None:
            fits = max(1, int(fits * (1 - self.margin)))
        return fits

    def _outcome(self, trainer: Trainer, module: Module, size: int) -> Literal["fits", "whole", "memory"]:
        try:
            batches = run_trial(trainer, module, [], self.steps_per_trial).num_training_batches
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            _log.info("Batch size %d does not fit into memory.", size)
            return "memory"
        finally:
            gc.collect()  # frees the arrays of this size's engine
        _log.info("Batch size %d fits.", size)
        return "whole" if batches <= 1 else "fits"
