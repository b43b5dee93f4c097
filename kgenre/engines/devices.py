"""The devices that the backend can compute on, and how one is chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache


def list_devices(kind: str | None = None) -> list[str]:
    """The devices of a kind as Keras names them, for example ["gpu:0", "gpu:1"].

    Args:
        kind: "cpu" or "gpu"; None: the GPUs where there are any, else the CPU.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "torch":  # Keras does not list torch's
        from kgenre.engines.torch import list_devices as list_torch_devices

        return list_torch_devices(kind)
    if backend == "tensorflow":  # Keras would start TensorFlow, and then no device can be hidden any more
        from kgenre.engines.tensorflow_devices import list_devices as list_tensorflow_devices

        return list_tensorflow_devices(kind)
    try:
        return keras.distribution.list_devices(kind)
    except RuntimeError:  # JAX's way to say that there are none
        return []


def computing_devices(chosen: Sequence[str]) -> tuple[str, ...]:
    """The devices that compute: those that were chosen, or the one that the backend takes where none was."""
    return tuple(chosen) or tuple(list_devices()[:1])


@cache
def with_name(device: str) -> str:
    """A device with its maker's name for it, "gpu:0 (NVIDIA H200)"; a CPU's is not known."""
    import keras

    kind, _, index = device.partition(":")
    name = ""
    if kind != "cpu" and keras.backend.backend() == "jax":
        import jax

        name = next(found.device_kind for found in jax.devices(kind) if found.id == int(index))
    elif kind == "gpu" and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpu = tf.config.get_visible_devices("GPU")[int(index)]
        name = tf.config.experimental.get_device_details(gpu).get("device_name", "")
    elif kind == "gpu":
        import torch

        name = torch.cuda.get_device_name(int(index))
    return f"{device} ({name})" if name else device


@contextmanager
def computing_on(devices: Sequence[str]) -> Iterator[None]:
    """The first of these devices is the backend's inside; none: its own choice.

    TensorFlow is shown no other GPU from then on.

    Raises:
        BackendError: TensorFlow has taken its GPUs already.
    """
    import keras

    if not devices:
        yield
        return
    if keras.backend.backend() == "tensorflow":
        from kgenre.engines.tensorflow_devices import hide_other_gpus

        hide_other_gpus(devices)
        yield
        return
    with keras.device(devices[0]):
        yield
