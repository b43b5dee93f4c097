"""Detects while a step is traced whether its loss has any gradient, at no cost when it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


class Reach:
    """Marks the arrays that a loss is computed from, and records whether a gradient comes back to any of them.

    JAX returns zeros as the gradient of an array that a loss does not depend on, just like a gradient that is zero. But
    the backward rule of a ``custom_vjp`` is called, during tracing, only if a cotangent arrives. Compiled code contains
    nothing of it.

    Example:
        >>> reach = Reach()
        >>> gradient = jax.grad(lambda x: jax.lax.stop_gradient(reach.mark(x)))(1.0)
        >>> reach.found
        False
    """

    def __init__(self) -> None:
        self.found = False
        mark = jax.custom_vjp(lambda arrays: arrays)
        mark.defvjp(lambda arrays: (arrays, None), self._came_back)
        self.mark: Callable[[Any], Any] = mark

    def _came_back(self, _: None, cotangents: Any) -> tuple[Any]:
        self.found = True
        return (cotangents,)
