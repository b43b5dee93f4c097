"""Lists TensorFlow's devices, and hides GPUs from it."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from kgenre.engines.backend import BackendError


def list_devices(kind: str | None = None) -> list[str]:
    """See `kgenre.engines.devices.list_devices`."""
    gpus = [f"gpu:{index}" for index in range(len(tf.config.get_visible_devices("GPU")))]
    found: dict[str | None, list[str]] = {"cpu": ["cpu:0"], "gpu": gpus, None: gpus or ["cpu:0"]}
    return found[kind]


def hide_other_gpus(devices: Sequence[str]) -> None:
    """Let TensorFlow see only these GPUs.

    Raises:
        BackendError: TensorFlow has already started with others.
    """
    gpus = tf.config.get_visible_devices("GPU")
    wanted = [gpu for index, gpu in enumerate(gpus) if f"gpu:{index}" in devices]
    if wanted == gpus:
        return
    try:
        tf.config.set_visible_devices(wanted, "GPU")
    except RuntimeError:
        raise BackendError(
            f"The Trainer is to use {', '.join(devices)}, but TensorFlow has already started with {len(gpus)} GPUs. "
            "Build the model in configure_model, or set the variable CUDA_VISIBLE_DEVICES (-1 for the CPU)."
        ) from None
