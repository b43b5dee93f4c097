"""The memory of runs that were replaced, as by a notebook's cell that runs again."""

from __future__ import annotations

import gc
import math
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from kgenre.engines.engine import Engine

_engines: WeakSet[Engine] = WeakSet()
_MANY = 2**24  # numbers in a run's variables: 64 MB in float32


def free_replaced() -> None:
    """Let Python look for runs that nobody holds any more, where one that is still in memory is large.

    Trainer, module and engine hold one another. Python looks for such rings after so many new objects, however large
    the rings are: a few runs of a large network would fill a GPU.
    """
    if any(_numbers(engine) > _MANY for engine in _engines):
        gc.collect()


def remember(engine: Engine) -> None:
    """An engine that `free_replaced` should know of."""
    _engines.add(engine)


def _numbers(engine: Engine) -> int:
    built = getattr(engine, "built", None)  # it may have been broken off before
    variables = [] if built is None else [*built.variables.values(), *built.optimizer_variables.values()]
    return sum(math.prod(variable.shape) for variable in variables)
