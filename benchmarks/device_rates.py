"""Measures a device's rates, of large matrix products and of copies, and prints JSON; run by `throughput.py`.

python benchmarks/device_rates.py gpu
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from machine import driver


def fastest(run: Callable[[], Any], wait: Callable[[Any], Any], repeats: int) -> float:
    """Return the seconds of one run: the mean of ``repeats`` runs enqueued at once, the best of five such means."""
    wait(run())
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(repeats):
            result = run()
        wait(result)
        times.append((time.perf_counter() - begun) / repeats)
    return min(times)


def jax_rates(device: str) -> dict[str, float]:
    """Measure with JAX: float32 as networks use it (TF32 on an NVIDIA GPU), full float32, bfloat16, and copies."""
    import jax
    from jax import numpy as jnp

    size, repeats = (8192, 20) if device == "gpu" else (1024, 3)
    square = jax.random.normal(jax.random.key(0), (size, size))
    half = square.astype("bfloat16")
    product = jax.jit(jnp.matmul, static_argnames="precision")
    rates = {}
    for name, matrix, precision in (
        ("fp32", square, None),
        ("fp32 in full", square, "highest"),
        ("bf16", half, None),
    ):
        seconds = fastest(lambda m=matrix, p=precision: product(m, m, precision=p), jax.block_until_ready, repeats)
        rates[f"{name} FLOP/s"] = 2 * size**3 / seconds
    long = jnp.zeros((1 << 28 if device == "gpu" else 1 << 25,), "float32")
    add = jax.jit(lambda array: array + 1)
    rates["copy bytes/s"] = 2 * long.nbytes / fastest(lambda: add(long), jax.block_until_ready, repeats)
    return rates


def tensorflow_rates(device: str) -> dict[str, float]:
    """Measure the same with TensorFlow."""
    import tensorflow as tf

    size, repeats = (8192, 20) if device == "gpu" else (1024, 3)
    square = tf.random.stateless_normal((size, size), (0, 0))
    half = tf.cast(square, tf.bfloat16)

    def wait(tensor: Any) -> None:
        tf.reshape(tensor, [-1])[0].numpy()

    rates = {}
    for name, matrix, tf32 in (("fp32", square, True), ("fp32 in full", square, False), ("bf16", half, True)):
        tf.config.experimental.enable_tensor_float_32_execution(tf32)
        rates[f"{name} FLOP/s"] = 2 * size**3 / fastest(lambda m=matrix: tf.matmul(m, m), wait, repeats)
    long = tf.zeros((1 << 28 if device == "gpu" else 1 << 25,))
    rates["copy bytes/s"] = 8 * int(tf.size(long)) / fastest(lambda: long + 1, wait, repeats)
    return rates


if __name__ == "__main__":
    of = {"jax": jax_rates, "tensorflow": tensorflow_rates}[os.environ["KERAS_BACKEND"]]
    print(json.dumps({"rates": of(sys.argv[1]), "driver": driver() if sys.argv[1] == "gpu" else None}))
