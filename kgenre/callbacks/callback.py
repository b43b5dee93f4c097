"""The Callback: what may be hung into a run from outside, with Lightning's hooks and arguments."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer


class Callback:
    """Override the hooks you need; each gets the trainer and the module.

    Order in a fit: ``setup``, ``on_fit_start``, ``on_sanity_check_start`` .. ``_end``, ``on_train_start``, then per
    epoch ``on_train_epoch_start``, per batch ``on_train_batch_start`` and ``on_train_batch_end``, validation where it
    is due, ``on_train_epoch_end``; at last ``on_train_end``, ``on_fit_end``, ``teardown``. Callbacks come before the
    module's hook of the same name; checkpoint callbacks come after everything else. Lightning's hooks around backward
    pass and optimizer (``on_after_backward``, ...) do not exist, and are refused where they are written: the step is
    compiled as a whole.

    Tensors in ``outputs`` and ``batch`` stay on the device: reading one waits for the step, so do it rarely. The
    module's weights are up to date in every hook and may be assigned there, in those of training batches too (a target
    network that follows); under JAX such a hook costs a copy of them.

    Example:
        >>> class SayLoss(Callback):
        ...     def on_train_epoch_end(self, trainer, module):
        ...         print(trainer.current_epoch, trainer.callback_metrics["train/loss"])
        >>> Trainer(callbacks=[SayLoss()])
    """

    # Callbacks that watch logged values run after the module's hook at the end of an epoch or a validation, so that
    # they see what it logged there.
    monitors = False
    # Callbacks that save the run's state come last in every hook: what the others do there belongs to it.
    saves = False
    # What a callback has compiled into each update: a `kgenre.engines.weight_update.StepPart`, or None.
    step_part: Any = None

    def next_step_needed(self, trainer: Trainer) -> float:
        """The next optimizer update (counted as ``trainer.global_step``) after which the batch hooks must be called.

        With ``Trainer(steps_per_execution=...)`` several steps run in one call, which ends here; the hooks of its
        batches are called when it is over, with ``outputs={}``. By default a callback that overrides
        ``on_train_batch_start`` or ``on_train_batch_end`` needs each step; return infinity where later will do.
        """
        return trainer.global_step + 1 if overrides_batch_hooks(self) else math.inf

    @property
    def state_key(self) -> str:
        """The name of this callback's state in a checkpoint; two of one class need two keys."""
        return type(self).__qualname__

    def setup(self, trainer: Trainer, module: Module, stage: str) -> None:
        """A stage ("fit", "validate", "test", "predict") begins."""

    def teardown(self, trainer: Trainer, module: Module, stage: str) -> None:
        """A stage is over."""

    def on_fit_start(self, trainer: Trainer, module: Module) -> None:
        """Everything is built, a checkpoint to resume from is loaded."""

    def on_fit_end(self, trainer: Trainer, module: Module) -> None:
        """Fit is over."""

    def on_sanity_check_start(self, trainer: Trainer, module: Module) -> None:
        """The few validation batches before training begin."""

    def on_sanity_check_end(self, trainer: Trainer, module: Module) -> None:
        """They are over."""

    def on_train_start(self, trainer: Trainer, module: Module) -> None:
        """Training begins."""

    def on_train_end(self, trainer: Trainer, module: Module) -> None:
        """Training is over."""

    def on_train_epoch_start(self, trainer: Trainer, module: Module) -> None:
        """An epoch begins."""

    def on_train_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """An epoch is over; its values are in ``trainer.callback_metrics``."""

    def on_train_batch_start(self, trainer: Trainer, module: Module, batch: Any, batch_idx: int) -> int | None:
        """Before a step; return -1 to skip the rest of the epoch."""

    def on_train_batch_end(
        self, trainer: Trainer, module: Module, outputs: dict[str, Any], batch: Any, batch_idx: int
    ) -> None:
        """After a step was enqueued."""

    def on_validation_start(self, trainer: Trainer, module: Module) -> None:
        """Validation begins."""

    def on_validation_end(self, trainer: Trainer, module: Module) -> None:
        """Validation is over; its values are in ``trainer.callback_metrics``."""

    def on_validation_epoch_start(self, trainer: Trainer, module: Module) -> None:
        """The pass over the validation data begins."""

    def on_validation_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """The pass over the validation data is over."""

    def on_validation_batch_start(
        self, trainer: Trainer, module: Module, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Before a validation step."""

    def on_validation_batch_end(
        self, trainer: Trainer, module: Module, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """After a validation step was enqueued."""

    def on_test_start(self, trainer: Trainer, module: Module) -> None:
        """Testing begins."""

    def on_test_end(self, trainer: Trainer, module: Module) -> None:
        """Testing is over."""

    def on_test_epoch_start(self, trainer: Trainer, module: Module) -> None:
        """The pass over the test data begins."""

    def on_test_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """The pass over the test data is over."""

    def on_test_batch_start(
        self, trainer: Trainer, module: Module, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Before a test step."""

    def on_test_batch_end(
        self, trainer: Trainer, module: Module, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """After a test step was enqueued."""

    def on_predict_start(self, trainer: Trainer, module: Module) -> None:
        """Prediction begins."""

    def on_predict_end(self, trainer: Trainer, module: Module) -> None:
        """Prediction is over."""

    def on_predict_epoch_start(self, trainer: Trainer, module: Module) -> None:
        """The pass over the data to predict begins."""

    def on_predict_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """The pass over the data to predict is over."""

    def on_predict_batch_start(
        self, trainer: Trainer, module: Module, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Before a prediction step."""

    def on_predict_batch_end(
        self, trainer: Trainer, module: Module, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """After a prediction step was enqueued."""

    def on_exception(self, trainer: Trainer, module: Module, exception: BaseException) -> None:
        """The run was broken off by an error or by Ctrl-C."""

    def on_save_checkpoint(self, trainer: Trainer, module: Module, checkpoint: dict[str, Any]) -> None:
        """A checkpoint's state (JSON values) is about to be written; add to it."""

    def on_load_checkpoint(self, trainer: Trainer, module: Module, checkpoint: dict[str, Any]) -> None:
        """A checkpoint's state was read."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of this callback: JSON values only."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_") or name in ("setup", "teardown"))
BATCH_HOOKS = ("on_train_batch_start", "on_train_batch_end")


def overrides(owner: Any, name: str, base: type = Callback) -> bool:
    """Whether a callback (or a module, with its base) has a hook of its own by this name."""
    hook = getattr(owner, name)
    return getattr(hook, "__func__", hook) is not getattr(base, name)


def overrides_batch_hooks(owner: Any, base: type = Callback) -> bool:
    """Whether it has hooks of training batches."""
    return any(overrides(owner, name, base) for name in BATCH_HOOKS)
