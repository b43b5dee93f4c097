"""``accelerator``, ``devices`` and ``strategy``: which devices a run computes on."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from kgenre.training.errors import TrainerError

Devices = int | Sequence[int] | str

_log = logging.getLogger("kgenre")
_MOST = 1024  # JAX divides the CPU into as many devices as are asked for


def check_devices(devices: Devices) -> None:
    """Reject devices that no machine has; imports no backend.

    Raises:
        TrainerError: not "auto", a number or a list of indices.
    """
    is_count = type(devices) is int and (devices == -1 or 0 < devices <= _MOST)
    is_list = (
        isinstance(devices, list | tuple)
        and all(type(d) is int and 0 <= d < _MOST for d in devices)
        and 0 < len(devices) == len(set(devices))
    )
    if devices != "auto" and not is_count and not is_list:
        raise TrainerError(
            f"devices must be 'auto', a number up to {_MOST} (-1: all) or a list of indices such as [0, 2]. "
            f"Received: {devices!r}"
        )


def choose_devices(accelerator: str, devices: Devices, strategy: str) -> tuple[str, ...]:
    """Return the names of the devices, such as ("gpu:0", "gpu:1"); () leaves the choice to the backend.

    Raises:
        TrainerError: this machine or backend does not have the requested devices.
    """
    if (accelerator, devices) == ("auto", "auto") and strategy != "data_parallel":
        return ()
    import keras

    from kgenre.engines.devices import divide_cpu, list_devices

    backend = keras.backend.backend()
    if backend == "jax" and accelerator != "gpu" and not isinstance(devices, str):
        divide_cpu(devices if isinstance(devices, int) else 1 + max(devices))  # has no effect on a GPU
    found = list_devices(None if accelerator == "auto" else accelerator)
    if not found:
        raise TrainerError(
            f"accelerator={accelerator!r}, but {backend} finds no GPU here, only {', '.join(list_devices('cpu'))}. "
            f"{_how_to_use_it(backend)} Without one, use accelerator='auto' or 'cpu'."
        )
    if isinstance(devices, str):  # "auto"
        devices = len(found) if strategy == "data_parallel" else 1
    elif devices == -1:
        devices = len(found)
    wanted = list(range(devices)) if isinstance(devices, int) else list(devices)
    several = len(wanted) > 1
    if strategy == "single" and several:
        raise TrainerError(f"strategy='single' computes on one device. Received: devices={devices!r}")
    if backend != "jax" and (several or strategy == "data_parallel"):
        asked = "strategy='data_parallel'" if strategy == "data_parallel" else f"devices={devices!r}"
        raise TrainerError(f"{asked}: only KERAS_BACKEND=jax trains on several devices together, not {backend}.")
    if max(wanted) >= len(found):
        message = f"devices={devices!r}, but {backend} finds {len(found)}: {', '.join(found)}."
        if several and found[0] == "cpu:0":
            message += (
                " JAX can split the CPU into devices only before it has computed anything: create the layers in "
                f"configure_model, or start the program with JAX_NUM_CPU_DEVICES={max(wanted) + 1}."
            )
        raise TrainerError(message)
    return tuple(found[index] for index in wanted)


def check_distribution(chosen: Sequence[str]) -> None:
    """Reject a distribution of Keras's that the chosen devices do not follow.

    Raises:
        TrainerError: it distributes weights, or it distributes batches and no devices were chosen.
    """
    import keras

    found = keras.distribution.distribution()
    if found is None or found.device_mesh.devices.size == 1:
        return
    if not chosen or not isinstance(found, keras.distribution.DataParallel):
        raise TrainerError(
            f"keras.distribution.set_distribution was called with a {type(found).__name__}, but kgenre divides batches "
            "itself and keeps all weights on each device. Leave it out and use "
            f"Trainer(devices={found.device_mesh.devices.size})."
        )


def log_devices(accelerator: str, chosen: Sequence[str], precision: str) -> None:
    """Log the backend and the devices it computes on.

    Warn if the backend does not find this machine's NVIDIA GPU, or if the device lacks hardware for the precision.
    """
    import keras

    from kgenre.engines.devices import computing_devices, lacks_bfloat16, with_name

    backend, devices = keras.backend.backend(), computing_devices(chosen)
    _log.info("Backend %s on %s.", backend, ", ".join(map(with_name, devices)))
    if accelerator == "auto" and devices[0].startswith("cpu") and _has_nvidia_gpu():
        _log.warning(
            "This machine has an NVIDIA GPU, but %s does not find it. %s Set accelerator='cpu' to train on the CPU.",
            backend,
            _how_to_use_it(backend),
        )
    if precision.startswith("bf16") and lacks_bfloat16(devices[0]):
        _log.warning(
            "precision=%r is slow on %s: GPUs before Ampere have no hardware for it. Use precision='16-mixed'.",
            precision,
            with_name(devices[0]),
        )


def _has_nvidia_gpu() -> bool:
    """Whether ``nvidia-smi`` and a GPU device exist, and no environment variable hides the GPU from this process."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or os.environ.get("JAX_PLATFORMS") == "cpu"
    if hidden or shutil.which("nvidia-smi") is None:
        return False
    nodes = [*Path("/dev").glob("nvidia[0-9]*"), *Path("/dev").glob("dxg")]  # dxg: WSL2
    return bool(nodes) or sys.platform == "win32"


def _how_to_use_it(backend: str) -> str:
    if backend == "torch":
        return "It needs the CUDA build of PyTorch: see pytorch.org."
    if sys.platform == "win32":
        return "It supports no GPUs on Windows: use WSL2."
    return "It needs a recent driver and CUDA: pip install 'kgenre[cuda]'."
