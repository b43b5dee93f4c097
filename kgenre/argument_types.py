"""Compares the arguments of public functions with their annotations, as the command line does."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, SupportsFloat, SupportsIndex, Union, get_args, get_origin, get_type_hints

_NUMBER = (SupportsFloat, SupportsIndex)  # those of NumPy and of backends too
_TYPES: dict[Any, tuple[Any, str]] = {
    bool: (_NUMBER, "True or False"),  # Keras's `verbose=1`
    int: (SupportsIndex, "a whole number"),
    float: (_NUMBER, "a number"),
    str: ((str, os.PathLike), "text"),
    Path: ((str, os.PathLike), "a path"),
    NoneType: (NoneType, "None"),
}


def wrong_argument(function: Callable[..., Any], name: str, value: Any) -> str | None:
    """Return what an argument takes, such as "a whole number or None", if this value is something else.

    Only annotations that consist of the types above and of literals are checked; None for all others.
    """
    annotation = _annotations(function).get(name)
    union = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    literals = [literal for kind in union if get_origin(kind) is Literal for literal in get_args(kind)]
    kinds = [kind for kind in union if get_origin(kind) is not Literal and not (kind is int and float in union)]
    if not all(kind in _TYPES for kind in kinds):
        return None
    if any(isinstance(value, _TYPES[kind][0]) for kind in kinds) or (isinstance(value, str) and value in literals):
        return None
    return " or ".join([*map(repr, literals), *(_TYPES[kind][1] for kind in kinds)])


@functools.cache
def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(function)
