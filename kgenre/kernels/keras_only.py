"""Switches kgenre's kernels off where Keras's own operations are required."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_wanted: ContextVar[bool] = ContextVar("keras_only", default=False)


@contextmanager
def keras_only() -> Iterator[None]:
    """Trace only Keras's own operations in the block: every converter and runtime supports these."""
    token = _wanted.set(True)
    try:
        yield
    finally:
        _wanted.reset(token)


def leave_to_keras_unless(*backends: str) -> None:
    """Leave the operation to Keras except on these backends: the first line of each kernel.

    Raises:
        NotImplementedError: Keras runs on another backend, or the call is inside a `keras_only` block.
    """
    import keras

    if _wanted.get():
        raise NotImplementedError("keras_only is active.")
    if keras.backend.backend() not in backends:
        raise NotImplementedError(keras.backend.backend())
