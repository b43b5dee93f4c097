"""The order in which hooks are called: callbacks, then the module; callbacks that watch metrics after the module."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from kgenre.callbacks.callback import Callback
from kgenre.training.module import Module

_NOT_HOOKS = {"state_dict", "load_state_dict", "on_save_checkpoint", "on_load_checkpoint", "next_step_needed"}
HOOKS = tuple(
    name
    for name, value in vars(Callback).items()
    if callable(value) and not name.startswith("_") and name not in _NOT_HOOKS
)


class Hooks:
    """Each hook as a method: ``hooks.on_train_start()`` calls it on all callbacks and on the module.

    Only those that override a hook are called: a step costs nothing for the hooks that nobody wrote.
    """

    def __init__(self, trainer: Any, module: Module, callbacks: Sequence[Callback]) -> None:
        for name in HOOKS:
            setattr(self, name, self._chain(name, trainer, module, callbacks))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AttributeError(f"There is no hook {name!r}.")

    @staticmethod
    def _chain(name: str, trainer: Any, module: Module, callbacks: Sequence[Callback]) -> Callable[..., Any]:
        def measured(owner: str, hook: Callable[..., Any]) -> Callable[..., Any]:
            return hook if trainer.profiler is None else trainer.profiler.profiled(f"{owner}.{name}", hook)

        def bound(callback: Callback) -> Callable[..., Any]:
            hook = measured(
                f"[Callback]{callback.state_key}", _as_written(getattr(callback, name), getattr(Callback, name))
            )
            return lambda *arguments: hook(trainer, module, *arguments)

        written = [callback for callback in callbacks if _overrides(callback, Callback, name)]
        # At the end of an epoch the module may log what a monitor is waiting for.
        late = [c for c in written if c.monitors] if name == "on_train_epoch_end" else []
        chain = [bound(callback) for callback in written if callback not in late]
        if _overrides(module, Module, name):
            hook = _as_written(getattr(module, name), getattr(Module, name))
            chain.append(measured(f"[Module]{type(module).__name__}", hook))
        chain += [bound(callback) for callback in late]

        def call(*arguments: Any) -> Any:
            stop = None
            for hook in chain:
                if hook(*arguments) == -1:
                    stop = -1
            return stop

        return call


def _as_written(hook: Callable[..., Any], base: Callable[..., Any]) -> Callable[..., Any]:
    """Without the last argument, ``dataloader_idx``, for a hook that does not take it: few need it."""
    expected = list(inspect.signature(base).parameters)[1:]
    if "dataloader_idx" not in expected:
        return hook
    takes = inspect.signature(hook).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in takes) or len(takes) >= len(expected):
        return hook
    return lambda *arguments: hook(*arguments[:-1])


def _overrides(owner: Any, base: type, name: str) -> bool:
    hook = getattr(owner, name)
    return getattr(hook, "__func__", hook) is not getattr(base, name)
