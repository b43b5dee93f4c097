"""The devices that the backend can compute on, and how one is chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


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
