"""2D convolution that XLA computes fast on a CPU, with its gradients."""

from __future__ import annotations

import operator
from functools import cache
from typing import Any

from kgenre.kernels.divided_batch import batch_mesh
from kgenre.kernels.keras_only import leave_to_keras_unless

_Pair = tuple[int, int]

# Output pixels per partial sum of the kernel's gradient: enough to divide among cores, few enough for their caches.
_PIXELS_AT_ONCE = 49152
# Output pixels of a film from which on the gradient of strided pictures is computed by phases: see `_by_phases`.
_PHASES_FROM = 256


def convolution(pictures: Any, kernel: Any, strides: _Pair, padding: str) -> Any:
    """``keras.ops.conv`` without dilation and groups, channels last.

    XLA computes the gradient of a kernel as one convolution whose windows are whole pictures, with all films of the
    batch as its channels: on a CPU that takes up to twice as long as summing over some of the films at a time.
    Where the result has fewer rows or columns than the kernel, XLA calls no library: a product of matrices takes a
    fraction of the time, down to an eightieth with 512 channels.

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
        is_large = gradient.shape[1] * gradient.shape[2] >= _PHASES_FROM
        if is_large and max(strides) > 1 and all(map(operator.ge, kernel.shape, strides)):
            d_pictures = _by_phases(pictures.shape[1:3], kernel, gradient, strides, padding)
        else:
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

    by_films = jax.custom_vjp(convolved, nondiff_argnums=(2, 3))
    by_films.defvjp(forward, backward)

    def convolution(pictures: Any, kernel: Any, strides: _Pair, padding: str) -> Any:
        result = jax.eval_shape(lambda p, k: convolved(p, k, strides, padding), pictures, kernel)
        is_small = result.shape[1] < kernel.shape[0] or result.shape[2] < kernel.shape[1]
        if is_small or result.shape[0] == 0:  # the sum over films begins with one
            return _as_product(pictures, kernel, result.shape[1:3], strides, padding)
        return by_films(pictures, kernel, strides, padding)

    return convolution


def _as_product(pictures: Any, kernel: Any, sides: _Pair, strides: _Pair, padding: str) -> Any:
    """Multiply each window (h * w * C), copied to a row of a matrix, by the kernel."""
    from jax import lax, numpy

    height, width, _, filters = kernel.shape
    pads = lax.padtype_to_pads(pictures.shape[1:3], (height, width), strides, padding)
    padded = numpy.pad(pictures, ((0, 0), *pads, (0, 0)))
    rows, columns = ((side - 1) * stride + 1 for side, stride in zip(sides, strides, strict=True))
    windows = [
        padded[:, y : y + rows : strides[0], x : x + columns : strides[1]] for y in range(height) for x in range(width)
    ]
    return numpy.concatenate(windows, axis=-1) @ kernel.reshape(-1, filters)


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


def _by_phases(sides: _Pair, kernel: Any, gradient: Any, strides: _Pair, padding: str) -> Any:
    """Compute the gradient of pictures with these sides, without the zeros that XLA puts between the gradient's pixels.

    With strides of 2, pixels with even and with odd coordinates receive their gradient through different rows and
    columns of the kernel. One convolution with these parts as filters gives all phases of a place as its channels
    (Shi et al., 2016, "Real-Time Single Image and Video Super-Resolution", https://arxiv.org/abs/1609.05158).
    """
    from jax import lax, numpy

    size, (channels, filters) = kernel.shape[:2], kernel.shape[2:]
    befores = [before for before, _ in lax.padtype_to_pads(sides, size, strides, padding)]
    # For each axis: the kernel's rows per phase, and the places whose phases cover the padded picture.
    taps = [-(-reach // stride) for reach, stride in zip(size, strides, strict=True)]
    places = [(before + side - 1) // stride + 1 for before, side, stride in zip(befores, sides, strides, strict=True)]
    whole = [(0, tap * stride - reach) for tap, stride, reach in zip(taps, strides, size, strict=True)]
    parts = numpy.pad(kernel, (*whole, (0, 0), (0, 0)))
    parts = parts.reshape(taps[0], strides[0], taps[1], strides[1], channels, filters)
    parts = parts[::-1, :, ::-1].transpose(0, 2, 5, 1, 3, 4).reshape(*taps, filters, -1)
    pads = [(tap - 1, place - side) for tap, place, side in zip(taps, places, gradient.shape[1:3], strict=True)]
    phases = lax.conv_general_dilated(gradient, parts, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    phases = phases.reshape(len(gradient), places[0], places[1], *strides, channels).transpose(0, 1, 3, 2, 4, 5)
    padded = phases.reshape(len(gradient), places[0] * strides[0], places[1] * strides[1], channels)
    return padded[:, befores[0] : befores[0] + sides[0], befores[1] : befores[1] + sides[1]]
