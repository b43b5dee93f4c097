"""Whether the rows of a batch lie on several devices, for kernels that go through them in turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_mesh: ContextVar[Any] = ContextVar("mesh", default=None)


@contextmanager
def divided_batch(mesh: Any) -> Iterator[None]:
    """What is traced in the block computes on batches whose rows JAX's ``mesh`` divides; None: on one device."""
    token = _mesh.set(mesh)
    try:
        yield
    finally:
        _mesh.reset(token)


def batch_mesh() -> Any:
    """The mesh of the innermost `divided_batch`, of one axis; None on one device."""
    return _mesh.get()
