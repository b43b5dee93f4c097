"""The code that a module's steps run: it is compiled once, and in a notebook it changes."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from kgenre.users_code import is_users


def code_of(module: Any, steps: Iterable[str]) -> list[CodeType]:
    """The code of some of the module's methods and of what it names: other methods, a user's own functions and objects.

    It changes by ``%autoreload``, by a cell that defines a function again, by an assignment to a class or an object.
    What lies in lists and dicts is not looked into.

    Example:
        >>> class Net:
        ...     def error(self): return 1
        ...     def validation_step(self): return self.error()
        >>> before = code_of(Net(), ["validation_step"])
        >>> Net.error = lambda self: 2  # which the step calls
        >>> code_of(Net(), ["validation_step"]) == before
        False
    """
    return [value.__code__ for value in named_by(module, steps) if isinstance(value, FunctionType)]


def named_by(module: Any, steps: Iterable[str]) -> Iterator[Any]:
    """What some of the module's methods name, and what that names: functions, modules and other values."""
    seen: set[int] = set()
    waiting = list(_members(module, steps))
    while waiting:
        value = waiting.pop()
        if isinstance(value, staticmethod | classmethod | MethodType):
            value = value.__func__
        elif isinstance(value, property):
            value = value.fget
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, FunctionType):
            names = list(dict.fromkeys(_names(value.__code__)))
            waiting += _members(module, names)
            if is_users(value.__code__.co_filename):
                waiting += _named(value, names)
        elif value is not module:
            waiting += _held_by_users(value)


def names_in(module: Any, step: Any) -> set[str]:
    """The names in a step's code and in that of the module's methods, written by a user, that it calls."""
    names: set[str] = set()
    waiting = [step]
    while waiting:
        function = inspect.unwrap(waiting.pop())
        new = set(_names(function.__code__)) - names if hasattr(function, "__code__") else set()
        names |= new
        methods = (value.fget if isinstance(value, property) else value for value in _members(module, new))
        waiting += [m for m in methods if isinstance(m, FunctionType) and is_users(m.__code__.co_filename)]
    return names


def _members(module: Any, names: Iterable[str]) -> Iterator[Any]:
    """What the object has under these names, and each of its classes: a method may call that of a base class."""
    owners = [_vars(owner) for owner in (module, *type(module).__mro__)]
    return (members[name] for name in names for members in owners if name in members)


def _named(function: FunctionType, names: Iterable[str]) -> Iterator[Any]:
    """What a function names: globals, members of modules that are globals, what it encloses."""
    values = [function.__globals__[name] for name in names if name in function.__globals__]
    for value in values:
        if isinstance(value, ModuleType):
            yield from (vars(value)[name] for name in names if name in vars(value))
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # it is still empty
            values.append(cell.cell_contents)
    yield from values


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:  # functions inside of it
        if isinstance(inner, CodeType):
            yield from _names(inner)


def _held_by_users(value: Any) -> Iterator[Any]:
    """What an object of a user's class holds, and its methods; nothing of any other object."""
    classes = [cls for cls in (value if isinstance(value, type) else type(value)).__mro__ if is_of_users(cls)]
    return (member for owner in ([value, *classes] if classes else []) for member in _vars(owner).values())


def is_of_users(cls: type) -> bool:
    """Whether a class is none of Python's, kgenre's or an installed package's."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)  # a notebook has none
    return cls.__module__ == "__main__" if file is None else is_users(file)


def _vars(owner: Any) -> dict[str, Any]:
    return getattr(owner, "__dict__", {})
