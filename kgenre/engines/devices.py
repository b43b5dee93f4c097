"""The devices that the backend can compute on."""

from __future__ import annotations


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
    try:
        return keras.distribution.list_devices(kind)
    except RuntimeError:  # JAX's way to say that there are none
        return []
