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


def leave_to_keras_unless(*backends: str) -> None:
    """The first line of a kernel that these backends have.

    Raises:
        NotImplementedError: Keras runs on another one, or in a block of `keras_only`.
    """
    import keras

    if _wanted.get():
        raise NotImplementedError("Keras's own operations are wanted.")
    if keras.backend.backend() not in backends:
        raise NotImplementedError(keras.backend.backend())
