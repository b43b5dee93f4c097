"""Lists the devices that the backend can compute on, describes them, and selects one."""

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
    if backend == "tensorflow":  # Keras would start TensorFlow, after which no device can be hidden
        from kgenre.engines.tensorflow_devices import list_devices as list_tensorflow_devices

        return list_tensorflow_devices(kind)
    try:
        return keras.distribution.list_devices(kind)
    except RuntimeError:  # JAX raises it if there are none
        return []


def computing_devices(chosen: Sequence[str]) -> tuple[str, ...]:
    """The devices to compute on: the chosen ones, or the backend's default device if none was chosen."""
    return tuple(chosen) or tuple(list_devices()[:1])


def with_name(device: str) -> str:
    """A device with its product name, "gpu:0 (NVIDIA H200)"; a CPU's is not known."""
    name, _ = _details(device)
    return f"{device} ({name})" if name else device


def lacks_bfloat16(device: str) -> bool:
    """Whether it is an NVIDIA GPU older than Ampere (compute capability 8.0), the first to multiply in bfloat16."""
    _, capability = _details(device)
    return capability is not None and capability < 8


@cache
def _details(device: str) -> tuple[str, float | None]:
    """Product name and CUDA compute capability, if any: else "" and None."""
    import keras

    kind, _, number = device.partition(":")
    index, backend = int(number), keras.backend.backend()
    if kind == "cpu" or (backend == "torch" and kind != "gpu"):
        return "", None
    if backend == "jax":
        import jax

        gpu = next(found for found in jax.devices(kind) if found.id == index)
        capability = getattr(gpu, "compute_capability", "")  # "9.0"; ROCm's is a name
        return gpu.device_kind, float(capability) if capability.replace(".", "", 1).isdigit() else None
    if backend == "tensorflow":
        import tensorflow as tf

        found = tf.config.experimental.get_device_details(tf.config.get_visible_devices("GPU")[index])
        major, minor = found.get("compute_capability") or (None, 0)
        return found.get("device_name", ""), None if major is None else major + minor / 10
    import torch

    major, minor = torch.cuda.get_device_capability(index)
    return torch.cuda.get_device_name(index), major + minor / 10


@contextmanager
def computing_on(devices: Sequence[str]) -> Iterator[None]:
    """Let the backend compute on the first of these devices inside the context; without any, on its own choice.

    From then on, TensorFlow sees no GPUs but these.

    Raises:
        BackendError: TensorFlow has already started with other GPUs.
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
