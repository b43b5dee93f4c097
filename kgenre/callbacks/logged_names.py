"""Check before the first step that a monitored name can be logged: a typo should not cost an epoch."""

from __future__ import annotations

import difflib
import logging
from typing import TYPE_CHECKING

from kgenre.callbacks.callback import HOOKS
from kgenre.callbacks.lambda_callback import LambdaCallback
from kgenre.callbacks.monitor import MonitorError

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")
_HOOKS = [name for name in HOOKS if name.startswith("on_")]


def check_logged(callback: str, monitor: str | None, trainer: Trainer, module: Module, filename: str = "") -> None:
    """Refuse a ``monitor`` that nothing logs, once the steps are built; only warn of a name in a ``filename``.

    If a hook of the user's may log it, only warn, and only if a step logs a similar name.

    Raises:
        MonitorError: nothing can log it; the message suggests the closest name that is logged.
    """
    known = _logged_names(trainer)
    of_callbacks = tuple(name for callback in trainer.callbacks for name in callback.logs)
    if monitor is None or monitor in known or monitor.startswith(of_callbacks):
        return
    same = [name for name in known if _is_same(name, monitor)]
    near = same or difflib.get_close_matches(monitor, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    what = f"{callback}(filename={filename!r}): {monitor!r}" if filename else f"{callback}(monitor={monitor!r})"
    if not _hooks_may_log(trainer, module):
        names = ", ".join(known) or "nothing"
        if not filename:
            raise MonitorError(f"{what}: no step logs this value.{hint} The steps log: {names}.")
        _log.warning("%s: no step logs this value, so it will be nan.%s The steps log: %s.", what, hint, names)
    elif same:
        _log.warning("%s: no step logs this value, so a hook must log it.%s", what, hint)


def other_spelling(monitor: str, trainer: Trainer) -> str | None:
    """The name under which the built steps log a value that nothing logs as ``monitor``: "val_loss" for "val/loss"."""
    known = _logged_names(trainer)
    if any(name.partition("/dataloader_idx_")[0] == monitor for name in known):
        return None
    return next((name for name in known if _is_same(name, monitor)), None)


def _logged_names(trainer: Trainer) -> list[str]:
    """The names that the built steps log, sorted."""
    built = trainer.engine.built
    entries = [entry for stage in built.entries for entry in (*built.entries[stage], *built.metrics[stage])]
    return sorted({entry.name for entry in entries} | {entry.fork_of for entry in entries if entry.fork_of})


def _is_same(name: str, monitor: str) -> bool:
    """Whether a logged name, of any of several sets, is ``monitor`` in another spelling."""
    return _bare(name.partition("/dataloader_idx_")[0]) == _bare(monitor)


def _hooks_may_log(trainer: Trainer, module: Module) -> bool:
    hooks = [getattr(module, name) for name in _HOOKS]
    if any(getattr(hook, "__module__", None) != "kgenre.training.module" for hook in hooks):
        return True
    ours = [c for c in trainer.callbacks if type(c).__module__.startswith("kgenre.callbacks.")]
    return len(ours) < len(trainer.callbacks) or any(isinstance(callback, LambdaCallback) for callback in ours)


def _bare(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))
