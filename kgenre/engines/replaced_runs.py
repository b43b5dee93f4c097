"""Frees the memory of replaced runs, such as those of a notebook cell that is run again."""

from __future__ import annotations

import gc
import math
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from kgenre.engines.engine import Engine

_engines: WeakSet[Engine] = WeakSet()
_MANY = 2**24  # numbers in the variables of runs: 64 MB in float32


def free_replaced() -> None:
    """Run Python's garbage collector if the runs in memory are large, each or together.

    Trainer, module and engine reference each other. Python collects such cycles after a number of new objects, however
    large the cycles are: a few runs of a large network would fill a GPU.
    """
    if sum(map(_numbers, _engines)) > _MANY:
        gc.collect()


def remember(engine: Engine) -> None:
    """Register an engine for `free_replaced`."""
    _engines.add(engine)


def _numbers(engine: Engine) -> int:
    built = getattr(engine, "built", None)  # missing if `build` failed
    variables = {} if built is None else built.all_variables
    return sum(math.prod(variable.shape) for variable in variables.values())
