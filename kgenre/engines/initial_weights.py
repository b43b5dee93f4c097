"""Initial weights in a fraction of the time that JAX takes to compile what draws them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def drawing_initial_weights() -> Iterator[None]:
    """Compile without optimising in this block, under JAX on a CPU; elsewhere do nothing.

    JAX compiles a program for each shape that weights are drawn in, and runs it once: five seconds of one core for the
    course's first CNN, under two without optimising. The numbers differ in their last bit at most.
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
