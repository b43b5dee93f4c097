"""Trial runs that leave no trace, for the searches for a learning rate and a batch size."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kgenre.callbacks.callback import Callback
from kgenre.checkpoints import read_state
from kgenre.engines.random_state import random_state, set_random_state

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer


@contextmanager
def trial(trainer: Trainer, module: Module, callbacks: Sequence[Callback], steps: int) -> Iterator[Trainer]:
    """Yield a copy of the trainer that trains for ``steps`` updates with only these callbacks, silently.

    It writes no files. Afterwards the module's variables, its optimizer's (if it keeps one) and the process's random
    states are restored bit for bit to what they were when the trial built the module; the trainer itself is not
    changed. State that a ``tf.data`` shuffle or a user's source keeps from one pass to the next is not restored.
    """
    before = _Snapshot()
    trial_trainer = copy.copy(trainer)
    trial_trainer.is_trial, trial_trainer.state = True, replace(trainer.state, status="initializing")
    trial_trainer.given_callbacks, trial_trainer.default_callbacks, trial_trainer.loggers = [*callbacks, before], [], []
    trial_trainer.run_opened, trial_trainer.profiler = [], None
    trial_trainer.max_epochs, trial_trainer.max_steps = math.inf, steps
    trial_trainer.min_epochs, trial_trainer.min_steps = 0, 0
    trial_trainer.limits, trial_trainer.num_sanity_val_steps = trainer.limits | {"val": 0}, 0
    attached, data = module._trainer, trainer.datamodule
    try:
        yield trial_trainer
    finally:
        if before.arrays is not None:
            for name, variable in before.variables.items():
                variable.assign(before.arrays[name])
            set_random_state(before.random)
        module._trainer = attached
        if data is not None:
            data.trainer = trainer


class _Snapshot(Callback):
    """Copies all variables and random states once the module is built."""

    arrays: dict[str, Any] | None = None

    def on_fit_start(self, trainer: Trainer, module: Module) -> None:
        self.variables = trainer.engine.built.all_variables
        # Copies: an array may be a view of memory that the next step overwrites.
        self.arrays = {name: array.copy() for name, array in trainer.engine.state_dict().items()}
        self.random = random_state()


def fit_as_given(trial_trainer: Trainer, trainer: Trainer, module: Module) -> None:
    """Fit the trial on the data of ``trainer``, which is about to train; its datamodule stays set up."""
    data = trainer.datamodule
    given = {} if trainer.data is not None else {"train_dataloaders": trainer.train_source}
    try:
        trial_trainer.fit(module, datamodule=data, **given)
    finally:
        if data is not None:  # the trial's teardown may have closed it
            data.setup("fit")


def found_before(trainer: Trainer, finder: Callback) -> Any:
    """Return what the search found in the run that is resumed from ``trainer.ckpt_path``; None: nothing."""
    assert trainer.ckpt_path is not None
    return read_state(trainer.ckpt_path)["callbacks"].get(finder.state_key, {}).get("found")


class SoughtAttribute:
    """The attribute, and the hyperparameter of the same name, that a search sets in each owner that has it.

    Args:
        owners: modules and datamodules; None is skipped.
        names: possible names of the attribute; the first that an owner has is used.
        what: the caller, for the error message.

    Raises:
        ValueError: no owner has one.
    """

    def __init__(self, owners: Sequence[Any], names: Sequence[str], what: str) -> None:
        owners = [owner for owner in owners if owner is not None]
        places = [place for owner in owners for place in (owner, owner.hparams)]
        self.name = next((name for name in names if any(hasattr(place, name) for place in places)), "")
        if not self.name:
            kinds = " or ".join(type(owner).__name__ for owner in owners)
            raise ValueError(
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
