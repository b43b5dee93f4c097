"""Which callbacks a stage uses: those that the user, the module and the Trainer's flags give."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kgenre.callbacks import Callback, ModelCheckpoint
from kgenre.training.errors import TrainerError

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer


def stage_callbacks(trainer: Trainer, module: Module) -> list[Callback]:
    """The callbacks of a stage, in order: the trainer's, the module's own, and defaults of kinds that are not given."""
    if trainer.is_trial:
        return list(trainer.given_callbacks)
    _take_over_changes(trainer)
    mine = {type(callback) for callback in trainer.given_callbacks}
    owner, own = trainer.configured_callbacks
    if trainer.stage == "fit" or owner is not module:  # evaluations keep those of the fit, with what they know of it
        own = as_list(module.configure_callbacks())
        check_callbacks(f"{type(module).__name__}.configure_callbacks", own)
        trainer.configured_callbacks = module, own
    extra = [callback for callback in own if type(callback) not in mine]
    users = [*trainer.given_callbacks, *extra]
    if trainer.fast_dev_run:  # writes no files
        users = [callback for callback in users if not isinstance(callback, ModelCheckpoint)]
    defaults = [c for c in trainer.default_callbacks if not any(isinstance(other, type(c)) for other in users)]
    return in_order([*users, *defaults])


def _take_over_changes(trainer: Trainer) -> None:
    """Apply what a user has added to or removed from ``trainer.callbacks`` since they were last used."""
    t = trainer
    gone = _without(t.used_callbacks, t.callbacks)
    new = _without(t.callbacks, [*t.used_callbacks, *t.given_callbacks])
    check_callbacks("trainer.callbacks", new)
    t.given_callbacks = _without([*t.given_callbacks, *new], gone)
    t.default_callbacks = _without(t.default_callbacks, gone)


def _without(callbacks: list[Callback], others: list[Callback]) -> list[Callback]:
    # By identity: two callbacks that are dataclasses may be equal.
    return [callback for callback in callbacks if not any(callback is other for other in others)]


def in_order(callbacks: list[Callback]) -> list[Callback]:
    """Put callbacks that save last, so that they save what the others did."""
    return sorted(callbacks, key=lambda callback: callback.saves)


def check_callbacks(where: str, callbacks: Iterable[Any]) -> None:
    """Check that each is a `Callback`.

    Args:
        where: the argument or method that they come from, for the message.
        callbacks: the values received.

    Raises:
        TrainerError: one is a Keras callback, a class, a function, or something else.
    """
    for given in callbacks:
        if not isinstance(given, Callback):
            raise TrainerError(f"{where}: not a kgenre callback. Received: {_described(given)}.")


def as_list(given: Any) -> list[Any]:
    """Return one, several or no values as a list."""
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple) else [given]


def _described(given: Any) -> str:
    name = getattr(given, "__name__", type(given).__name__)
    if inspect.isclass(given):
        return f"the class {name}; pass an instance, {name}(...)"
    if inspect.isroutine(given):
        return "a function; name its hook, as in LambdaCallback(on_train_epoch_end=function)"
    if any(base.__module__.startswith("keras.") for base in type(given).__mro__):
        return f"Keras's {name}; wrap it, KerasCallback({name}(...))"
    return f"{str(given)[:80]!r} ({name})"
