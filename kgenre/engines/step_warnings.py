"""Warnings about a step: each is shown once, at the user's code."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class StepWarnings:
    """The warnings of a module's steps: a step runs on shapes first and is traced later, and would warn each time.

    Example:
        >>> said = StepWarnings()
        >>> with said.once(module.training_step):
        ...     run_step(module.training_step, ...)
    """

    def __init__(self) -> None:
        self._said: set[tuple[str, str, int]] = set()  # message, file, line

    @contextmanager
    def once(self, step: Callable[..., Any]) -> Iterator[None]:
        """Wrap a run of the step: show its warnings after it, except those shown before."""
        with warnings.catch_warnings(record=True) as caught:
            yield
        written = inspect.unwrap(getattr(step, "__func__", step))
        for warning in caught:
            file, line = warning.filename, warning.lineno
            if Path(file).parent == Path(__file__).parent and hasattr(written, "__code__"):
                file, line = written.__code__.co_filename, written.__code__.co_firstlineno
            if (str(warning.message), file, line) not in self._said:
                self._said.add((str(warning.message), file, line))
                warnings.warn_explicit(warning.message, warning.category, file, line)
