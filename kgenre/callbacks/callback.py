"""The base class of callbacks, with Lightning's hooks and arguments."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

# Attributes of Lightning's callbacks, and what to write instead.
_REPLACEMENTS = {
    "log": "write module.log(name, value) in a hook, with the module that it receives",
    "log_dict": "write module.log_dict(values) in a hook, with the module that it receives",
    "total_train_batches": "write trainer.num_training_batches",
    "total_val_batches": "write trainer.num_val_batches",
}


class Callback:
    """The base class of callbacks: override the hooks you need; each receives the trainer and the module.

    Order in a fit: ``setup``, ``on_fit_start``, ``on_sanity_check_start`` .. ``_end``, ``on_train_start``, then per
    epoch ``on_train_epoch_start``, per batch ``on_train_batch_start`` and ``on_train_batch_end``, validation where it
    is due, ``on_train_epoch_end``; finally ``on_train_end``, ``on_fit_end``, ``teardown``. Callbacks run before the
    module's hook of the same name; checkpoint callbacks run after everything else. Lightning's hooks around the
    backward pass and the optimizer (``on_after_backward``, ...) do not exist, and defining one is an error: the step is
    compiled as a whole.

    Tensors in ``outputs`` and ``batch`` stay on the device: reading one waits for the step, so do it rarely. The
    module's weights are up to date in every hook and may be assigned there, also in the hooks of training batches (to
    update a target network, for example); under JAX such a hook costs a copy of the weights.

    Example:
        >>> class SayLoss(Callback):
        ...     def on_train_epoch_end(self, trainer, module):
        ...         print(trainer.current_epoch, trainer.callback_metrics["train/loss"])
        >>> Trainer(callbacks=[SayLoss()])
    """

    # Callbacks that watch logged values run after the module's hook at the end of an epoch or a validation, so that
    # they see the values it logs there.
    monitors = False
    # Callbacks that save the run's state run last in every hook: the state includes what the others do there.
    saves = False
    # The names of the values that one of kgenre's callbacks logs, or how they begin.
    logs: tuple[str, ...] = ()
    # Code to compile into each update: a `kgenre.engines.step_part.StepPart`, or None.
    step_part: Any = None

    if not TYPE_CHECKING:  # a type checker would accept any attribute

        def __getattr__(self, name: str) -> Any:
            """Raise an error that says what to write instead of a Lightning attribute that does not exist here."""
            if name in _REPLACEMENTS and not hasattr(type(self), name):
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r}: {_REPLACEMENTS[name]}.")
            return object.__getattribute__(self, name)  # raises Python's own error, or a property's

    def next_step_needed(self, trainer: Trainer) -> float:
        """The next optimizer update (counted as ``trainer.global_step``) after which the batch hooks must be called.

        With ``Trainer(steps_per_execution=...)`` one call runs several steps. It ends at this update at the latest, and
        only then are the hooks of its batches called, with ``outputs={}``. By default a callback that overrides
        ``on_train_batch_start`` or ``on_train_batch_end`` needs every step; return infinity if it can wait.
        """
        return trainer.global_step + 1 if overrides_batch_hooks(self) else math.inf

    @property
    def state_key(self) -> str:
        """The name of this callback's state in a checkpoint; two callbacks of one class need different keys."""
        return type(self).__qualname__

    def setup(self, trainer: Trainer, module: Module, stage: str) -> None:
        """A stage ("fit", "validate", "test", "predict") begins."""

    def teardown(self, trainer: Trainer, module: Module, stage: str) -> None:
        """A stage is over, however it ended. Not called if this callback's own `setup` did not finish."""

    def on_fit_start(self, trainer: Trainer, module: Module) -> None:
        """Everything is built, and a checkpoint to resume from is loaded."""

    def on_fit_end(self, trainer: Trainer, module: Module) -> None:
        """Fit is over."""

    def on_sanity_check_start(self, trainer: Trainer, module: Module) -> None:
        """The few validation batches before training begin."""

    def on_sanity_check_end(self, trainer: Trainer, module: Module) -> None:
        """The validation batches before training are over."""

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
        """After a step is enqueued."""

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
        """After a validation step is enqueued."""

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
        """After a test step is enqueued."""

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
        """After a prediction step is enqueued."""

    def on_exception(self, trainer: Trainer, module: Module, exception: BaseException) -> None:
        """An error or a signal such as Ctrl-C has ended the run. An error raised here is only logged."""

    def on_save_checkpoint(self, trainer: Trainer, module: Module, checkpoint: dict[str, Any]) -> None:
        """A checkpoint's state (JSON values) is about to be written; add to it."""

    def on_load_checkpoint(self, trainer: Trainer, module: Module, checkpoint: dict[str, Any]) -> None:
        """A checkpoint's state has been read."""

    def state_dict(self) -> dict[str, Any]:
        """Return this callback's state for a checkpoint: JSON values only."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_") or name in ("setup", "teardown"))
BATCH_HOOKS = ("on_train_batch_start", "on_train_batch_end")


def overrides(owner: Any, name: str, base: type = Callback) -> bool:
    """Whether a callback (or a module, with its base class) overrides this hook."""
    hook = getattr(owner, name)
    return getattr(hook, "__func__", hook) is not getattr(base, name)


def overrides_batch_hooks(owner: Any, base: type = Callback) -> bool:
    """Whether a callback or module overrides a hook of training batches."""
    return any(overrides(owner, name, base) for name in BATCH_HOOKS)
