"""``save_hyperparameters()``: the arguments of ``__init__``, kept with the run and its checkpoints."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from types import FrameType
from typing import Any, Self

import numpy as np


class AttributeDict(dict[str, Any]):
    """A dict whose items are also attributes: ``hparams.width`` is ``hparams["width"]``."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"There is no hyperparameter {name!r}. Available: {', '.join(self) or 'none'}.")

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        del self[name]

    @property
    def __dict__(self) -> AttributeDict:  # type: ignore[override]
        return self  # for vars()


class Hyperparameters:
    """Gives a class ``save_hyperparameters()`` and ``hparams``, as in Lightning."""

    _hparams: AttributeDict | None = None
    _not_logged: frozenset[str] = frozenset()  # the names of saved arguments that loggers do not get
    # By name: the place in the __mro__ of the class that saved it, the value's id, and the value as JSON holds it (else
    # ...): hparams may have been set since. Not the value: what an attribute holds gives variables their names. None:
    # none has saved.
    _saved: Mapping[str, tuple[int, int, Any]] | None = None
    # What the object was created with; ... for what hparams have: JSON lacks the value, or the class saves it itself.
    # None: its class chose by name what is saved.
    _given: Mapping[str, Any] | None = None

    def __new__(cls, /, *args: Any, **kwargs: Any) -> Self:
        """Note the arguments: a class that does not save its own is created again with these."""
        self = super().__new__(cls)
        with suppress(TypeError):  # wrong ones, of which __init__ says what is wrong, or none, as for a copy
            given = inspect.signature(cls.__init__).bind(self, *args, **kwargs)
            given.apply_defaults()
            plain = {name: _as_plain(value) for name, value in _by_name(given, self).items()}
            self._given = {name: value if is_plain(value) else ... for name, value in plain.items()}
        return self

    @property
    def hparams(self) -> AttributeDict:
        """The saved arguments, a dict with attributes. Empty before they are saved."""
        if self._hparams is None:
            self._hparams = AttributeDict()
        return self._hparams

    def save_hyperparameters(self, *names: str, ignore: str | Sequence[str] = (), logger: bool = True) -> None:
        """Keep the arguments of the calling ``__init__``: all of them, or those in ``names``, minus ``ignore``.

        With ``logger=False`` only checkpoints hold them, and loggers do not.

        Call it first in ``__init__``, before arguments are overwritten (in a dataclass, in ``__post_init__``).
        Checkpoints keep the values that JSON can hold: numbers, strings, lists and dicts of these (keys become
        strings), NumPy scalars (as Python's) and paths (as strings); also the arguments of a subclass that does not
        call it.

        Raises:
            TypeError: called outside a method that has the named arguments, or with something other than names.

        Example:
            >>> class Net(Module):
            ...     def __init__(self, width=8):
            ...         self.save_hyperparameters()
            >>> Net(width=16).hparams.width
            16
        """
        for name in names:
            if not isinstance(name, str):
                raise TypeError(
                    f"save_hyperparameters takes names of arguments. Received: {name!r}. Pass the values as "
                    f"arguments, {type(self).__name__}(**vars(args)), and call save_hyperparameters()."
                )
        frame = sys._getframe(1)
        given = _arguments(frame, self)
        if is_dataclass(self) and frame.f_code.co_name == "__post_init__":
            given |= {field.name: getattr(self, field.name) for field in fields(self) if field.init}
        unknown = [name for name in names if name not in given]
        if unknown:
            raise TypeError(
                f"save_hyperparameters({', '.join(map(repr, unknown))}): {type(self).__name__}.__init__ has no such "
                f"argument. It has: {', '.join(given) or 'none'}."
            )
        ignore = [ignore] if isinstance(ignore, str) else ignore
        chosen = {name: given[name] for name in (names or given) if name not in ignore}
        # Several classes of a hierarchy may call this, in any order: all sets are kept, the subclass's values win.
        methods = [vars(cls).get(frame.f_code.co_name) for cls in type(self).__mro__]
        codes = [method and getattr(inspect.unwrap(method), "__code__", None) for method in methods]  # if decorated
        place = next((i for i, code in enumerate(codes) if code is frame.f_code), 0)
        saved = dict(self._saved or {})
        for name, value in chosen.items():
            by, known, _ = saved.get(name, (0, 0, ...))
            if name not in self.hparams or (place < by and id(self.hparams[name]) == known):
                plain = _as_plain(value)
                self.hparams[name], saved[name] = value, (place, id(value), plain if is_plain(plain) else ...)
                if not logger:
                    self._not_logged = self._not_logged.union([name])
        self._saved = saved
        if place == 0:
            self._given = None if names else dict.fromkeys(chosen, ...)


def _by_name(call: inspect.BoundArguments, owner: Any) -> dict[str, Any]:
    """The arguments of a call of ``__init__`` by name, except ``owner``."""
    given: dict[str, Any] = {}
    for name, value in call.arguments.items():
        named = call.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
        given |= value if named else {name: value}
    return {name: value for name, value in given.items() if value is not owner}


def _arguments(frame: FrameType, owner: Any) -> dict[str, Any]:
    """The arguments of a method's call by name, except ``owner``, whatever its name."""
    arguments = inspect.getargvalues(frame)
    given = {name: arguments.locals[name] for name in arguments.args if name in arguments.locals}
    given = {name: value for name, value in given.items() if value is not owner}
    if arguments.varargs:
        given[arguments.varargs] = arguments.locals[arguments.varargs]
    return given | (arguments.locals.get(arguments.keywords, {}) if arguments.keywords else {})


def logged_hyperparameters(owner: Hyperparameters) -> dict[str, Any]:
    """The saved arguments that loggers get, NumPy's numbers and paths converted as in a checkpoint."""
    return {name: _as_plain(value) for name, value in vars(owner.hparams).items() if name not in owner._not_logged}


def class_and_hyperparameters(owner: Hyperparameters) -> dict[str, Any]:
    """What a checkpoint keeps to recreate a module or datamodule: its class and JSON-compatible hyperparameters.

    ``arguments`` has what an object of this very class is created with, where it differs: base classes save others, and
    may get other values. What was set in hparams since, as a search does, replaces it. ``not_kept`` names the values
    that JSON lacks, if there are any.
    """
    saved = {name: _as_plain(value) for name, value in vars(owner.hparams).items()}
    given = None if owner._saved is None else owner._given  # nothing is kept that nobody saves
    began = {name: value for name, (_, _, value) in (owner._saved or {}).items()}
    changed = {n for n, v in saved.items() if is_plain(v) and is_plain(began.get(n, ...)) and v != began[n]}
    own = saved
    if given is not None:
        own = {n: saved.get(n, ...) if value is ... or n in changed else value for n, value in given.items()}
    kept, arguments = ({n: v for n, v in values.items() if is_plain(v)} for values in (saved, own))
    record = {"class_path": f"{type(owner).__module__}.{type(owner).__qualname__}", "hyperparameters": kept}
    record |= {"arguments": arguments} if arguments != kept else {}
    not_kept = sorted(name for name, value in (saved | own).items() if not is_plain(value))
    return record | ({"not_kept": not_kept} if not_kept else {})


def is_kept(value: Any) -> bool:
    """Whether checkpoints keep a value, if need be converted: NumPy's numbers and paths."""
    return is_plain(_as_plain(value))


def _as_plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return list(map(_as_plain, value))
    if isinstance(value, dict):
        return {_scalar_as_plain(name): _as_plain(item) for name, item in value.items()}
    return _scalar_as_plain(value)


def _scalar_as_plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, os.PathLike) else value


def changed_hyperparameters(owner: Hyperparameters, then: Mapping[str, Any] | None) -> dict[str, tuple[Any, Any]]:
    """The hyperparameters that differ between a checkpoint and an object: name -> (value there, value here).

    Args:
        owner: a module or datamodule.
        then: what `class_and_hyperparameters` returned for the checkpoint's; None: the checkpoint has none.
    """
    before = (then or {}).get("hyperparameters") or {}
    now = class_and_hyperparameters(owner)["hyperparameters"]
    now = json.loads(json.dumps(now))  # a dict's keys become strings, as in a checkpoint
    return {name: (before[name], now[name]) for name in now if name in before and before[name] != now[name]}


def is_plain(value: Any) -> bool:
    """Whether a value is JSON-compatible."""
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_scalar, value)) and all(map(is_plain, value.values()))
    return _is_scalar(value)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
