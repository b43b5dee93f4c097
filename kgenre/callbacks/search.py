"""Searches before a fit, for a learning rate and a batch size, with trial runs that leave no trace."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kgenre.callbacks.callback import Callback
from kgenre.checkpoints import read_state
from kgenre.engines.random_state import random_state, set_random_state
from kgenre.users_code import ShortTraceback

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer


class SearchError(ShortTraceback, ValueError):
    """The module or the data do not allow the search; the message says what to change."""


def run_trial(trainer: Trainer, module: Module, callbacks: Sequence[Callback], steps: int) -> Trainer:
    """Train for ``steps`` updates on the trainer's data with only these callbacks, silently; return the trainer used.

    That is a copy, and writes no files. Afterwards the module's variables, its optimizer's (if it keeps one) and the
    process's random states are restored bit for bit to what they were when the trial built the module; the trainer
    itself is not changed. State that a ``tf.data`` shuffle or a user's source keeps from one pass to the next is not
    restored.

    Raises:
        KeyboardInterrupt: Ctrl-C ended the trial.
    """
    before, data = _Snapshot(), trainer.datamodule
    trial = copy.copy(trainer)
    trial.is_trial, trial.state = True, replace(trainer.state, status="initializing")
    trial.given_callbacks, trial.default_callbacks, trial.loggers = [*callbacks, before], [], []
    trial.opened_loggers, trial.run_opened, trial.profiler = (), [], None
    trial.max_epochs, trial.max_steps = math.inf, steps
    trial.min_epochs, trial.min_steps = 0, 0
    trial.limits, trial.num_sanity_val_steps = trainer.limits | {"val": 0}, 0
    attached = module._trainer, None if data is None else data.trainer
    try:
        # In a fit that has begun, the trainer has a source from the module or datamodule too.
        trial.fit(module, trainer.train_source if trainer.data is None else None, datamodule=data)
    finally:
        if before.arrays is not None:
            for name, variable in before.variables.items():
                variable.assign(before.arrays[name])
            set_random_state(before.random)
        module._trainer = attached[0]
        if data is not None:
            data.trainer = attached[1]
            if trainer.state.status == "running":  # the trial's teardown may have closed what the fit needs
                data.setup("fit")
    if trial.interrupted:
        raise KeyboardInterrupt
    return trial


class _Snapshot(Callback):
    """Copies all variables and random states once the module is built."""

    arrays: dict[str, Any] | None = None

    def on_fit_start(self, trainer: Trainer, module: Module) -> None:
        self.variables = trainer.engine.built.all_variables
        # Copies: an array may be a view of memory that the next step overwrites.
        self.arrays = {name: array.copy() for name, array in trainer.engine.state_dict().items()}
        self.random = random_state()


class Search(Callback):
    """Searches for a value before a fit creates what depends on it; a resumed run keeps the value found before."""

    found: Any = None

    def search(self, trainer: Trainer, module: Module) -> None:
        """Search with trials, and `use` what is found."""
        raise NotImplementedError

    def use(self, trainer: Trainer, module: Module, found: Any) -> None:
        """Set the value, and keep it as ``found``."""
        raise NotImplementedError

    def setup(self, trainer: Trainer, module: Module, stage: str) -> None:
        """Search, or set what the resumed run has found."""
        if stage != "fit":
            return
        if trainer.ckpt_path is None:
            self.search(trainer, module)
            return
        known = read_state(trainer.ckpt_path)["callbacks"].get(self.state_key, {}).get("found")
        if known is not None:
            self.use(trainer, module, known)

    def state_dict(self) -> dict[str, Any]:
        """The value that was found."""
        return {"found": self.found}


class SoughtAttribute:
    """The attribute, and the hyperparameter of the same name, that a search sets in each owner that has it.

    Args:
        owners: modules and datamodules; None is skipped.
        names: possible names of the attribute; the first that an owner has is used.
        what: the caller, for the error message.

    Raises:
        SearchError: no owner has one.
    """

    def __init__(self, owners: Sequence[Any], names: Sequence[str], what: str) -> None:
        owners = [owner for owner in owners if owner is not None]
        places = [place for owner in owners for place in (owner, owner.hparams)]
        self.name = next((name for name in names if any(hasattr(place, name) for place in places)), "")
        if not self.name:
            kinds = " or ".join(type(owner).__name__ for owner in owners)
            raise SearchError(
                f"{what} sets the attribute {' or '.join(map(repr, names))}, but {kinds} has none. Add it "
                f"(self.{names[0]} = ..., and use it), or name another one."
            )
        self._before = [(place, getattr(place, self.name)) for place in places if hasattr(place, self.name)]

    def set(self, value: Any) -> None:
        """Set it in each owner."""
        for place, _ in self._before:
            setattr(place, self.name, value)

    def restore(self) -> None:
        """Set it to what it was."""
        for place, value in self._before:
            setattr(place, self.name, value)
