"""Draws initial weights: with less compilation under JAX, and orthogonal ones in bfloat16 too."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

_drawing = threading.RLock()
_stages: list[int] = []  # the thread of each stage that is running


@contextmanager
def compiling_steps() -> Iterator[None]:
    """Wrap a stage, whose steps are to be compiled with optimisations: see `drawing_initial_weights`."""
    thread = threading.get_ident()
    with _drawing:
        _stages.append(thread)
    try:
        yield
    finally:
        _stages.remove(thread)


@contextmanager
def drawing_initial_weights() -> Iterator[None]:
    """Wrap code that creates layers: compile without optimisations under JAX on a CPU; otherwise do nothing.

    JAX compiles a program for each shape of weights and runs it once: for the course's first CNN this takes five
    seconds on one core, and under two without optimisations. The weights differ in their last bit at most.

    The option holds for all threads: it is left alone while another one runs a stage, and a stage that begins in
    another one waits for the end of the block.
    """
    with _drawing:
        if use := keras.backend.backend() == "jax" and {threading.get_ident()}.issuperset(_stages):
            with _compiling_unoptimized():
                yield
    if not use:
        yield


@contextmanager
def _compiling_unoptimized() -> Iterator[None]:
    import jax

    from kgenre.kernels.jax_platform import platform

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", before or platform() == "cpu")
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


_drawn_orthogonal = keras.initializers.Orthogonal.__call__


def _drawn_in_float32(self: Any, shape: Any, dtype: Any = None) -> Any:
    """Draw orthogonal weights (of LSTMs and GRUs) in float32: no backend has the QR decomposition in bfloat16."""
    if dtype is None or keras.backend.standardize_dtype(dtype) != "bfloat16":
        return _drawn_orthogonal(self, shape, dtype)
    return keras.ops.cast(_drawn_orthogonal(self, shape, "float32"), dtype)


keras.initializers.Orthogonal.__call__ = _drawn_in_float32  # in other precisions nothing changes
