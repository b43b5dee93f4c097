"""Draws initial weights: with less compilation under JAX, and orthogonal ones in bfloat16 too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def drawing_initial_weights() -> Iterator[None]:
    """Wrap code that creates layers, to draw their weights fast and in every precision."""
    with _compiling_unoptimized(), orthogonal_in_float32():
        yield


@contextmanager
def _compiling_unoptimized() -> Iterator[None]:
    """Compile without optimisations under JAX on a CPU; otherwise do nothing.

    JAX compiles a program for each shape of weights and runs it once: for the course's first CNN this takes five
    seconds on one core, and under two without optimisations. The weights differ in their last bit at most.
    """
    import keras

    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    from kgenre.kernels.jax_platform import platform

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", before or platform() == "cpu")
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


@contextmanager
def orthogonal_in_float32() -> Iterator[None]:
    """Draw orthogonal weights (of LSTMs and GRUs) in float32: no backend has the QR decomposition in bfloat16."""
    import keras

    kind = keras.initializers.Orthogonal
    draw = kind.__call__

    def draw_in_float32(self: Any, shape: Any, dtype: Any = None) -> Any:
        if dtype is None or keras.backend.standardize_dtype(dtype) != "bfloat16":
            return draw(self, shape, dtype)
        return keras.ops.cast(draw(self, shape, "float32"), dtype)

    kind.__call__ = draw_in_float32
    try:
        yield
    finally:
        kind.__call__ = draw
