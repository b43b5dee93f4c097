"""Limits the imports that an option, a configuration or a checkpoint can trigger to what the user has allowed."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType

from kgenre.users_code import is_users

ALLOW_VARIABLE = "KGENRE_ALLOW_IMPORT"
_restricted: list[bool] = []


class AllowedImportsError(ValueError):
    """``KGENRE_ALLOW_IMPORT`` is not a list of names; the message suggests a valid value."""


@contextmanager
def only_allowed_imports() -> Iterator[None]:
    """Make `may_import` check ``KGENRE_ALLOW_IMPORT`` in the block, where names may come from a stranger.

    The files that the variable names may lie in the working directory.

    Raises:
        AllowedImportsError: the variable is not a list of names.
    """
    if users_packages() and os.getcwd() not in sys.path:  # as with `python file.py`
        sys.path.insert(0, os.getcwd())
    _restricted.append(True)
    try:
        yield
    finally:
        _restricted.pop()


def may_import(name: str) -> bool:
    """Return whether a user's function, given by its dotted name, may be imported: always in a program of the user's.

    In a command or a checkpoint the name may come from a stranger, and importing it could run anything. It must then be
    allowed, or belong to a function of the user's that this program has already imported.
    """
    if not _restricted or any(name.startswith(f"{package}.") for package in users_packages()):
        return True
    home, _, last = name.rpartition(".")
    found = getattr(sys.modules.get(home), last, None)
    return isinstance(found, FunctionType) and is_users(found.__code__.co_filename)


def not_allowed_message(name: str) -> str:
    """Return the message for a dotted name that may not be imported: how to allow it, besides what is allowed."""
    if re.match(r"(lightning|pytorch_lightning|torch)\.", name):
        return f"{name} is PyTorch's. Write kgenre's or Keras's class, without a path: {name.rpartition('.')[2]}"
    allowed = ",".join([*users_packages(), name.partition(".")[0]])
    return f"{name} may not be imported. If it is yours, allow it: {ALLOW_VARIABLE}={allowed}"


def missing_class_message(name: str) -> str:
    """Return the message for a run's class that cannot be found under its dotted name."""
    last = name.rpartition(".")[2]
    return (
        f"The run's class {name} does not exist here. If it was defined in the program or notebook that trained it, "
        f"move it to a file, such as mine.py, and train mine.{last}, which every command finds. To use this run, call "
        f"{last}.load_from_checkpoint(RUN) in Python."
    )


def users_packages() -> tuple[str, ...]:
    """Return the names in ``KGENRE_ALLOW_IMPORT``.

    Raises:
        AllowedImportsError: the variable is not a list of names.
    """
    given = os.environ.get(ALLOW_VARIABLE, "")
    names = tuple(name.strip() for name in given.split(",") if name.strip())
    if any(name.endswith(".py") or not all(map(str.isidentifier, name.split("."))) for name in names):
        meant = ",".join(part.removesuffix(".py") for part in re.split(r"[^\w.]+", given) if part)
        raise AllowedImportsError(
            f"{ALLOW_VARIABLE} takes names of modules and packages (without .py), separated by commas: "
            f"{ALLOW_VARIABLE}={meant}. Received: {given}"
        )
    return names
