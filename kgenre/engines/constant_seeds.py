"""A warning about random numbers that are the same in every training step, because their seed is a number."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import keras


@contextmanager
def constant_seeds(enabled: bool) -> Iterator[list[int]]:
    """Collect the numbers that `keras.random` gets as ``seed`` inside the context, but not from initializers."""
    found: list[int] = []
    if not enabled:
        yield found
        return
    from keras.src import backend

    draw = backend.random.draw_seed

    def watched(seed: Any) -> Any:
        if isinstance(seed, int) and not _is_initializer(sys._getframe(1)):
            found.append(seed)
        return draw(seed)

    backend.random.draw_seed = watched
    try:
        yield found
    finally:
        backend.random.draw_seed = draw


def _is_initializer(frame: FrameType | None) -> bool:
    """Whether an initializer is among the callers: a layer built by the step draws its initial weights once."""
    while frame is not None:
        if isinstance(frame.f_locals.get("self"), keras.Initializer):
            return True
        frame = frame.f_back
    return False


def warn_of_constant_seeds(seeds: Sequence[int], step: str) -> None:
    """Warn of the first seed that `constant_seeds` found."""
    if seeds:
        warnings.warn(
            f"{step} draws random numbers with seed={seeds[0]}, so every step gets the same ones. Create "
            "self.seed = keras.random.SeedGenerator(0) in __init__ and pass seed=self.seed.",
            stacklevel=2,
        )
