"""Compares the arguments of public functions with their annotations, as the command line does."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, SupportsFloat, SupportsIndex, Union, get_args, get_origin, get_type_hints

# What is an instance of each annotation, the usual class first, which is quick: numbers of NumPy and of backends too.
_NUMBER = (float, int, SupportsFloat, SupportsIndex)
_TYPES: dict[Any, tuple[tuple[Any, ...], str]] = {
    bool: ((bool, *_NUMBER), "True or False"),  # Keras's `verbose=1`
    int: ((int, SupportsIndex), "a whole number"),
    float: (_NUMBER, "a number"),
    str: ((str, os.PathLike), "text"),
    Path: ((str, os.PathLike), "a path"),
    NoneType: ((NoneType,), "None"),
}


def wrong_argument(function: Callable[..., Any], name: str, value: Any) -> str | None:
    """Return what an argument takes, such as "a whole number or None", if this value is something else.

    NaN is no number here: every comparison with it is false, so a threshold, say, would have no effect.

    Only annotations that consist of the types above and of literals are checked, where all of the function's can be
    read; None for all others.
    """
    types, literals, words = _arguments(function).get(name, ((object,), (), ""))
    if words and isinstance(value, float) and math.isnan(value):
        return words
    return None if isinstance(value, types) or (isinstance(value, str) and value in literals) else words


@functools.cache
def _arguments(function: Callable[..., Any]) -> dict[str, tuple[tuple[Any, ...], tuple[Any, ...], str]]:
    """What each argument takes, by name: types, literals, and both in words; without those that are not checked."""
    found = {}
    try:
        hints = get_type_hints(function)
    except NameError:  # of a package that is imported for type checkers only
        return {}
    for name, annotation in hints.items():
        union = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
        literals = tuple(literal for kind in union if get_origin(kind) is Literal for literal in get_args(kind))
        kinds = [kind for kind in union if get_origin(kind) is not Literal and not (kind is int and float in union)]
        if all(kind in _TYPES for kind in kinds):
            words = " or ".join([*map(repr, literals), *(_TYPES[kind][1] for kind in kinds)])
            found[name] = tuple(each for kind in kinds for each in _TYPES[kind][0]), literals, words
    return found
