"""The masked LSTM under JAX: one loop for a CPU, another for a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
from jax import numpy as jnp

from kgenre.kernels import masked_lstm_jax_cpu, masked_lstm_jax_gpu
from kgenre.kernels.jax_platform import platform

if TYPE_CHECKING:
    from kgenre.kernels.masked_lstm import Direction

Pair = tuple[Any, Any]


def masked_lstm(inputs: Any, mask: Any, directions: tuple[Direction, Direction]) -> tuple[Pair, Pair]:
    """See `kgenre.kernels.masked_lstm`."""
    if mask is None:
        mask = jnp.ones(inputs.shape[:2], bool)
    compute = {"cpu": masked_lstm_jax_cpu.masked_lstm, "gpu": masked_lstm_jax_gpu.masked_lstm}[platform_loop()]
    return jax.tree.map(lambda array: array.astype(inputs.dtype), compute(inputs, mask, directions))


def platform_loop() -> str:
    """Return which loop to use on this device: "cpu" or "gpu".

    Raises:
        NotImplementedError: the device is neither; Keras's own LSTM runs there.
    """
    found = platform()
    if found not in ("cpu", "gpu"):
        raise NotImplementedError(found)
    return found
