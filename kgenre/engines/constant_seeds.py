"""A warning about random numbers that are the same in every training step, because their seed is a number."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import keras


@contextmanager
def warning_of_constant_seeds(step: str) -> Iterator[None]:
    """Warn of the first number that `keras.random` gets as ``seed`` inside the context, but not from an initializer."""
    from keras.src import backend

    # Not what they all call: torch's functions call nothing while a step runs on shapes alone.
    draws = {name: value for name, value in vars(backend.random).items() if _takes_seed(value)}
    seeds: list[int] = []

    def watch(draw: Callable[..., Any]) -> Callable[..., Any]:
        bind = inspect.signature(draw).bind

        def watched(*given: Any, **named: Any) -> Any:
            seed = bind(*given, **named).arguments.get("seed")
            if isinstance(seed, int) and not _is_initializer(sys._getframe(1)):
                seeds.append(seed)
            return draw(*given, **named)

        return watched

    for name, draw in draws.items():
        setattr(backend.random, name, watch(draw))
    try:
        yield
    finally:
        for name, draw in draws.items():
            setattr(backend.random, name, draw)
    if seeds:
        warnings.warn(
            f"{step} draws random numbers with seed={seeds[0]}, so every step gets the same ones. Create "
            "self.seed = keras.random.SeedGenerator(0) in __init__ and pass seed=self.seed.",
            stacklevel=1,
        )


def _takes_seed(value: Any) -> bool:
    return inspect.isfunction(value) and "seed" in inspect.signature(value).parameters


def _is_initializer(frame: FrameType | None) -> bool:
    """Whether an initializer is among the callers: a layer built by the step draws its initial weights once."""
    while frame is not None:
        if isinstance(frame.f_locals.get("self"), keras.Initializer):
            return True
        frame = frame.f_back
    return False
