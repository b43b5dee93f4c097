"""Measures a device's rates, of large matrix products and of copies, and prints JSON; run by `throughput.py`.

KERAS_BACKEND=jax python benchmarks/device_rates.py gpu
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from machine import driver


def fastest(run: Callable[[], Any], repeats: int) -> float:
    """Return the seconds of one run: the mean of ``repeats`` runs enqueued at once, the best of five such means."""
    from keras import ops

    def seconds(count: int) -> float:
        begun = time.perf_counter()
        for _ in range(count):
            result = run()
        ops.convert_to_numpy(result[:1, :1])  # waits for the device
        return (time.perf_counter() - begun) / count

    seconds(1)
    return min(seconds(repeats) for _ in range(5))


def rates(device: str) -> dict[str, float]:
    """Measure float32 as networks use it (TF32 on an NVIDIA GPU), full float32, bfloat16, and copies."""
    import keras

    size, repeats, rows = (8192, 20, 1 << 18) if device == "gpu" else (1024, 3, 1 << 15)
    square = keras.random.normal((size, size), seed=0)
    half, long = keras.ops.cast(square, "bfloat16"), keras.ops.zeros((rows, 1024))
    found = {}
    for name, matrix, in_full in (("fp32", square, False), ("fp32 in full", square, True), ("bf16", half, False)):
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.experimental.enable_tensor_float_32_execution(not in_full)
        else:
            import jax

            jax.config.update("jax_default_matmul_precision", "highest" if in_full else None)
        found[f"{name} FLOP/s"] = 2 * size**3 / fastest(lambda m=matrix: keras.ops.matmul(m, m), repeats)
    found["copy bytes/s"] = 2 * 4 * rows * 1024 / fastest(lambda: long + 1, repeats)
    return found


if __name__ == "__main__":
    print(json.dumps({"rates": rates(sys.argv[1]), "driver": driver() if sys.argv[1] == "gpu" else None}))
