"""Where the kernels for TensorFlow's own operations on a CPU are of use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import tensorflow as tf

_by_xla: ContextVar[bool] = ContextVar("compiled_by_xla", default=False)


@contextmanager
def compiled_by_xla(wanted: bool) -> Iterator[None]:
    """Say of what is traced in the block whether XLA compiles it."""
    token = _by_xla.set(wanted)
    try:
        yield
    finally:
        _by_xla.reset(token)


def require_own_operations() -> None:
    """Leave the operation to Keras on a GPU, where these kernels were not measured, and to XLA, which merges its own.

    Raises:
        NotImplementedError: TensorFlow has a GPU, or XLA compiles what is being traced.
    """
    if _by_xla.get() or tf.config.list_logical_devices("GPU"):
        raise NotImplementedError("This kernel is for TensorFlow's own operations on a CPU.")
