"""Tells kernels that loop over a batch's rows whether the rows are split across devices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_mesh: ContextVar[Any] = ContextVar("mesh", default=None)


@contextmanager
def divided_batch(mesh: Any) -> Iterator[None]:
    """Tell kernels traced in the block that JAX's ``mesh`` splits the rows of their batches; None: one device."""
    token = _mesh.set(mesh)
    try:
        yield
    finally:
        _mesh.reset(token)


def batch_mesh() -> Any:
    """Return the mesh of the innermost `divided_batch`, which has one axis; None on one device."""
    return _mesh.get()
