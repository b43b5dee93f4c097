"""Leaving the kernels out, where Keras's own operations are wanted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_wanted: ContextVar[bool] = ContextVar("keras_only", default=False)


@contextmanager
def keras_only() -> Iterator[None]:
    """What is traced in the block consists of Keras's own operations: these every converter and runtime knows."""
    token = _wanted.set(True)
    try:
        yield
    finally:
        _wanted.reset(token)


def refuse_if_keras_only() -> None:
    """The first line of a kernel.

    Raises:
        NotImplementedError: in a block of `keras_only`.
    """
    if _wanted.get():
        raise NotImplementedError("Keras's own operations are wanted.")
