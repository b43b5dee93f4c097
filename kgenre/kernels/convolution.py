"""2D convolution whose kernel gradient XLA computes fast on a CPU."""

from __future__ import annotations

from functools import cache
from typing import Any

from kgenre.kernels.divided_batch import batch_mesh
from kgenre.kernels.keras_only import leave_to_keras_unless

_Pair = tuple[int, int]

# Output pixels per partial sum of the kernel's gradient: pictures and gradient then stay in a core's cache.
_PIXELS_AT_ONCE = 6144


def convolution(pictures: Any, kernel: Any, strides: _Pair, padding: str) -> Any:
    """``keras.ops.conv`` without dilation and groups, channels last.

    XLA computes the gradient of a kernel as one convolution whose windows are whole pictures, with all films of the
    batch as its channels: on a CPU that takes up to four times as long as the convolution itself. Summing over a few
    films at a time takes about as long as the convolution.

    Args:
        pictures: float32 (B, H, W, C).
        kernel: float32 (h, w, C, filters).
        strides: down and across.
        padding: "valid" or "same".

    Returns:
        float32 (B, H', W', filters).

    Raises:
        NotImplementedError: there is no faster kernel for this backend, device or dtype, or `keras_only` is active.
    """
    leave_to_keras_unless("jax")
    import keras

    from kgenre.kernels.jax_platform import platform

    kernel = keras.ops.convert_to_tensor(kernel)
    if platform() != "cpu" or not pictures.dtype == kernel.dtype == "float32":
        raise NotImplementedError(f"{pictures.dtype} on {platform()}")
    return _jax_convolution()(pictures, kernel, strides, padding.upper())


@cache
def _jax_convolution() -> Any:
    import jax
    from jax import lax

    layout = ("NHWC", "HWIO", "NHWC")

    def convolved(pictures: Any, kernel: Any, strides: _Pair, padding: str) -> Any:
        return lax.conv_general_dilated(pictures, kernel, strides, padding, dimension_numbers=layout)

    def forward(pictures: Any, kernel: Any, strides: _Pair, padding: str) -> tuple[Any, Any]:
        return convolved(pictures, kernel, strides, padding), (pictures, kernel)

    def backward(strides: _Pair, padding: str, saved: Any, gradient: Any) -> tuple[Any, Any]:
        pictures, kernel = saved
        (d_pictures,) = jax.linear_transpose(lambda p: convolved(p, kernel, strides, padding), pictures)(gradient)

        def d_kernel(pictures: Any, gradient: Any) -> Any:
            return _by_films(pictures, gradient, kernel.shape[:2], strides, padding)

        if (mesh := batch_mesh()) is None or len(pictures) % mesh.size:
            return d_pictures, d_kernel(pictures, gradient)
        # Each device loops over its own films. Without this, XLA would copy all films to all devices.
        (axis,) = mesh.axis_names
        share, whole = jax.sharding.PartitionSpec(axis), jax.sharding.PartitionSpec()
        summed = jax.shard_map(
            lambda *films: lax.psum(d_kernel(*films), axis), mesh=mesh, in_specs=(share, share), out_specs=whole
        )
        return d_pictures, summed(pictures, gradient)

    convolution = jax.custom_vjp(convolved, nondiff_argnums=(2, 3))
    convolution.defvjp(forward, backward)
    return convolution


def _by_films(pictures: Any, gradient: Any, size: _Pair, strides: _Pair, padding: str) -> Any:
    """Compute the kernel's gradient (h, w, C, filters) as a sum over a few films at a time."""
    from jax import lax

    films, *sides, _ = gradient.shape
    pads = []
    for side, out, reach, stride, (before, _) in zip(
        pictures.shape[1:3],
        sides,
        size,
        strides,
        lax.padtype_to_pads(pictures.shape[1:3], size, strides, padding),
        strict=True,
    ):
        # Pad the end so that the result is as large as the kernel; negative (crop) where strides stop short of the end.
        pads.append((before, reach + (out - 1) * stride - side - before))

    def of(seen: Any, passed: Any) -> Any:
        """Convolve with channels as the batch, films as the channels and the gradient as the window."""
        seen, passed = seen.transpose(3, 1, 2, 0), passed.transpose(1, 2, 0, 3)
        return lax.conv_general_dilated(
            seen, passed, (1, 1), pads, rhs_dilation=strides, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    at_once = 1 << (max(_PIXELS_AT_ONCE // (sides[0] * sides[1]), 2).bit_length() - 1)
    at_once = min(at_once, films)
    first = films % at_once or at_once

    def add(i: Any, total: Any) -> Any:
        start = first + i * at_once
        return total + of(*(lax.dynamic_slice_in_dim(array, start, at_once) for array in (pictures, gradient)))

    total = of(pictures[:first], gradient[:first])
    return lax.fori_loop(0, (films - first) // at_once, add, total).transpose(1, 2, 0, 3)
