"""Check the callbacks that a user gives; the errors say what to give instead."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from kgenre.callbacks import Callback
from kgenre.training.errors import TrainerError


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
