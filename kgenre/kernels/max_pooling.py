"""Maximum of each window of a picture, with a gradient that XLA computes fast."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from kgenre.kernels.keras_only import leave_to_keras_unless


def max_pooling(pictures: Any, size: tuple[int, int]) -> Any:
    """Return the maximum of each non-overlapping window, as ``keras.ops.max_pool`` with strides of ``size``.

    XLA's own gradient on a CPU takes ten times as long as this one, which finds the maxima again by comparison. Both
    are identical to the bit: the first of several equal maxima receives the whole gradient.

    Args:
        pictures: float (B, H, W, C). Rows and columns that do not fill a window are dropped.
        size: height and width of a window.

    Returns:
        (B, H // height, W // width, C), of the same dtype.

    Raises:
        NotImplementedError: there is no faster kernel for this backend, or `keras_only` is active.
    """
    leave_to_keras_unless("jax")
    height, width = size
    pictures = pictures[:, : pictures.shape[1] // height * height, : pictures.shape[2] // width * width]
    return _jax_pooling()(pictures, size)


@cache
def _jax_pooling() -> Any:
    import jax
    from jax import numpy as jnp

    def windows(pictures: Any, size: tuple[int, int]) -> Any:
        """(B, H / height, height, W / width, width, C)."""
        batch, rows, columns, channels = pictures.shape
        height, width = size
        return pictures.reshape(batch, rows // height, height, columns // width, width, channels)

    @partial(jax.custom_vjp, nondiff_argnums=(1,))
    def pool(pictures: Any, size: tuple[int, int]) -> Any:
        return windows(pictures, size).max((2, 4))

    def forward(pictures: Any, size: tuple[int, int]) -> tuple[Any, Any]:
        maxima = windows(pictures, size).max((2, 4))
        return maxima, (pictures, maxima)

    def backward(size: tuple[int, int], saved: Any, gradient: Any) -> tuple[Any]:
        pictures, maxima = saved
        inside = windows(pictures, size)
        taken = jnp.zeros(maxima.shape, bool)
        rows = []
        for row in range(size[0]):
            columns = []
            for column in range(size[1]):
                first = (inside[:, :, row, :, column] == maxima) & ~taken
                taken |= first
                columns.append(jnp.where(first, gradient, jnp.zeros_like(gradient)))
            rows.append(jnp.stack(columns, axis=3))
        return (jnp.stack(rows, axis=2).reshape(pictures.shape),)

    pool.defvjp(forward, backward)
    return pool
