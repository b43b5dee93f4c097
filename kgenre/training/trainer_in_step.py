"""The trainer as a step sees it: what a compiled step reads there it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kgenre.engines.python_in_steps import warn_of_counter

if TYPE_CHECKING:
    from kgenre.training.trainer import Trainer

_CHANGING = ("current_epoch", "global_step", "batch_idx", "is_last_batch")


class TrainerInStep:
    """Hands on what is asked of the trainer; warns of what changes.

    ``sanity_checking`` is False: one compiled step does the sanity check and the validations, so one that returned
    early in the former would never validate. What it logs there counts nowhere.
    """

    def __init__(self, trainer: Trainer) -> None:
        vars(self)["_trainer"] = trainer

    def __getattr__(self, name: str) -> Any:
        value = getattr(vars(self)["_trainer"], name)
        if name in _CHANGING:
            warn_of_counter(f"trainer.{name}", value)
        return False if name == "sanity_checking" else value

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(vars(self)["_trainer"], name, value)
