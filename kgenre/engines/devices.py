"""Lists the devices that the backend can compute on, describes them, and selects one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache

from kgenre.engines.backend import BackendError


def list_devices(kind: str | None = None) -> list[str]:
    """The devices of a kind as Keras names them, for example ["gpu:0", "gpu:1"].

    Args:
        kind: "cpu" or "gpu"; None: the GPUs where there are any, else the CPU.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "jax":
        try:
            return keras.distribution.list_devices(kind)
        except RuntimeError:  # JAX raises it if there are none
            return []
    # Keras does not list torch's, and would start TensorFlow, after which no device can be hidden.
    if backend == "torch":
        import torch

        count = torch.cuda.device_count()
        gpus = ["mps:0"] if torch.backends.mps.is_available() else [f"gpu:{index}" for index in range(count)]
    else:
        import tensorflow as tf

        gpus = [f"gpu:{index}" for index in range(len(tf.config.get_visible_devices("GPU")))]
    found: dict[str | None, list[str]] = {"cpu": ["cpu:0"], "gpu": gpus, None: gpus or ["cpu:0"]}
    return found[kind]


def divide_cpu(number: int) -> None:
    """Let JAX see ``number`` CPU devices; no effect once JAX has computed anything, or if the number was set elsewhere.

    A program on one device does not keep the cores busy, as XLA runs many operations of a step on a single core. A step
    divided among several devices does.
    """
    import jax

    by_flag = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if number > 1 and jax.config.jax_num_cpu_devices == -1 and not by_flag:
        with suppress(RuntimeError):  # JAX has already started
            jax.config.update("jax_num_cpu_devices", number)


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
        _hide_other_gpus(devices)
        yield
        return
    # torch takes "cpu:0" for another device than the "cpu" of its tensors: Keras's new variables would be copies of
    # themselves, which cannot hold integers (a Dropout's seed) and are no parameters.
    is_torch_cpu = keras.backend.backend() == "torch" and devices[0] == "cpu:0"
    with keras.device("cpu" if is_torch_cpu else devices[0]):
        yield


def _hide_other_gpus(devices: Sequence[str]) -> None:
    import tensorflow as tf

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
