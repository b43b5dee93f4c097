"""Explains the errors of Keras's optimizers, which check few of their arguments when they are created."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kgenre.engines.step_error import StepError
from kgenre.users_code import users_lines

_NOT_SHOWN = ("name", "learning_rate")  # the rate is a variable, and has been checked


@contextmanager
def explain_optimizer(optimizer: Any) -> Iterator[None]:
    """Report an error inside the context with the optimizer's arguments, unless it is raised in the user's own code.

    Raises:
        StepError: the optimizer cannot compute with its arguments, such as ``beta_1=None``.
    """
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        if users_lines(error.__traceback__):
            raise
        raise StepError(f"{_with_arguments(optimizer)} cannot update the weights: {error}") from error


def _with_arguments(optimizer: Any) -> str:
    """Describe an optimizer by those of its arguments that are not the defaults, such as "Adam(beta_1=None)"."""
    defaults = {name: one.default for name, one in inspect.signature(type(optimizer)).parameters.items()}
    values = {name: getattr(optimizer, name, default) for name, default in defaults.items() if name not in _NOT_SHOWN}
    given = [f"{name}={value!r}" for name, value in values.items() if value != defaults[name]]
    return f"{type(optimizer).__name__}({', '.join(given)})"
