"""Whether a gradient comes back from a loss: known when the step is traced, at no cost when it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


class Reach:
    """Marks arrays on their way into a loss, and notes when differentiation comes back to one of them.

    Under JAX the gradient of what a loss does not reach is zeros like any other. The rule of a ``custom_vjp`` is run
    only where a cotangent arrives, when the gradient is traced; compiled, the mark is gone.

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
