"""A callback built from functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kgenre.callbacks.callback import HOOKS, Callback


class LambdaCallback(Callback):
    """Calls a function in each given hook, for one-liners that do not need a class.

    Args:
        hooks: functions by the name of their hook, with that hook's arguments (see `Callback`).

    Raises:
        TypeError: there is no such hook, or its value is not a function.

    Example:
        >>> LambdaCallback(on_train_epoch_end=lambda trainer, module: print(trainer.callback_metrics))
    """

    def __init__(self, **hooks: Callable[..., Any]) -> None:
        for name, function in hooks.items():
            if name not in HOOKS:
                raise TypeError(f"LambdaCallback({name}=...): there is no such hook. Hooks: {', '.join(HOOKS)}.")
            if not callable(function):
                raise TypeError(f"LambdaCallback({name}=...) takes a function. Received: {function!r}")
            setattr(self, name, function)
