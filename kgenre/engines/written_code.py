"""Finds what the code of a module's steps refers to: attributes, functions, modules and objects."""

from __future__ import annotations

import dis
import inspect
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from kgenre.users_code import is_users


def named_by(module: Any, step: str) -> Iterator[Any]:
    """What a method of the module refers to, directly and indirectly: functions, modules and other values.

    Lists and dicts are not searched.
    """
    seen: set[int] = set()
    waiting = list(_members(module, [step]))
    while waiting:
        value = waiting.pop()
        if isinstance(value, MethodType):
            waiting.append(value.__self__)
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
                waiting += _named(value)
        elif value is not module:
            waiting += _held_by_users(value)


def names_in(module: Any, step: Any) -> set[str]:
    """The names in the code of a step and of the user-written methods and functions that it calls."""
    names: set[str] = set()
    seen: set[int] = set()
    waiting = [step]
    while waiting:
        function = inspect.unwrap(waiting.pop())
        if id(function) in seen or not hasattr(function, "__code__"):
            continue
        seen.add(id(function))
        new = set(_names(function.__code__)) - names
        names |= new
        methods = (value.fget if isinstance(value, property) else value for value in _members(module, new))
        called = (value for value in (*methods, *_named(function)) if isinstance(value, FunctionType))
        waiting += [value for value in called if is_users(value.__code__.co_filename)]
    return names


def _members(module: Any, names: Iterable[str]) -> Iterator[Any]:
    """The members of these names in the object and in each of its classes: a method may call a base class's method."""
    owners = [_vars(owner) for owner in (module, *type(module).__mro__)]
    return (members[name] for name in names for members in owners if name in members)


def _named(function: FunctionType) -> Iterator[Any]:
    """What a function refers to: globals, members of modules that are globals, closure variables."""
    for name, *members in _paths(function.__code__):
        value = function.__globals__.get(name)
        yield value
        for member in members:
            if not isinstance(value, ModuleType):
                break
            value = vars(value).get(member)
            yield value
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # the cell is still empty
            yield cell.cell_contents


def _paths(code: CodeType) -> Iterator[list[str]]:
    """The globals in the code, each with the attributes that follow: ["np", "random", "normal"]."""
    path: list[str] = []
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD") and path:
            path.append(instruction.argval)
            continue
        if path:
            yield path
        path = [instruction.argval] if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME") else []
    for inner in _inner(code):
        yield from _paths(inner)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in _inner(code):
        yield from _names(inner)


def _inner(code: CodeType) -> Iterator[CodeType]:
    """The code of the functions defined in a function."""
    return (constant for constant in code.co_consts if isinstance(constant, CodeType))


def _held_by_users(value: Any) -> Iterator[Any]:
    """The attributes and methods of an object of a user's class, or of such a class; nothing for other objects."""
    classes = [cls for cls in (value if isinstance(value, type) else type(value)).__mro__ if is_of_users(cls)]
    return (member for owner in ([value, *classes] if classes else []) for member in _vars(owner).values())


def is_of_users(cls: type) -> bool:
    """Whether a class is the user's: not part of Python, kgenre or an installed package."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)  # a notebook has none
    return cls.__module__ == "__main__" if file is None else is_users(file)


def _vars(owner: Any) -> dict[str, Any]:
    return getattr(owner, "__dict__", {})
