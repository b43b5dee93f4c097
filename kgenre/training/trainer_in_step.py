"""The trainer as a step sees it: a compiled step keeps using the values that it has read."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from kgenre.engines.step_error import StepError

if TYPE_CHECKING:
    from kgenre.training.trainer import Trainer


class TrainerInStep:
    """Forwards to the trainer, and warns when a step reads a value that changes."""

    def __init__(self, trainer: Trainer) -> None:
        vars(self)["_trainer"] = trainer

    def __getattr__(self, name: str) -> Any:
        value = getattr(vars(self)["_trainer"], name)
        if name in ("current_epoch", "global_step", "batch_idx", "is_last_batch"):
            _warn_of_counter(name, value)
        if name == "optimizers" and not value:
            raise StepError(
                "A step cannot read trainer.optimizers: they are built after it. LearningRateMonitor logs their rates; "
                "hooks can read and change them."
            )
        # The sanity check and validation share a compiled step: returning early in the former would disable the latter.
        return False if name == "sanity_checking" else value

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(vars(self)["_trainer"], name, value)


def _warn_of_counter(name: str, value: int) -> None:
    import keras

    if keras.backend.backend() != "torch":  # whose steps are not compiled
        warnings.warn(
            f"A step reads {name} and keeps using {value}, its value when the step was compiled. For a value that "
            "changes, keep a keras.Variable(0.0, trainable=False) in the module, assign it in a hook such as "
            "on_train_epoch_start, and read that.",
            stacklevel=4,
        )
