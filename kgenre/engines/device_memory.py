"""The accelerators' memory use, as counted by the backend's allocator."""

from __future__ import annotations


def device_memory() -> dict[str, dict[str, int]]:
    """Bytes by device ("gpu_0") and kind ("memory_in_use", "memory_peak"); empty on a CPU."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        stats = {f"{d.platform}_{d.id}": d.memory_stats() for d in jax.local_devices() if d.platform != "cpu"}
        keys = ("bytes_in_use", "peak_bytes_in_use")
    elif keras.backend.backend() == "torch":
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        stats = {f"gpu_{n}": torch.cuda.memory_stats(n) for n in range(count)}
        keys = ("allocated_bytes.all.current", "allocated_bytes.all.peak")
    else:
        import tensorflow as tf

        names = range(len(tf.config.list_logical_devices("GPU")))
        stats = {f"gpu_{n}": tf.config.experimental.get_memory_info(f"GPU:{n}") for n in names}
        keys = ("current", "peak")
    return {
        device: {"memory_in_use": int(found.get(keys[0], 0)), "memory_peak": int(found.get(keys[1], 0))}
        for device, found in stats.items()
        if found
    }
