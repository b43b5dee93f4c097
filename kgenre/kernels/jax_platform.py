"""Which kind of device JAX computes on here."""

from __future__ import annotations

import jax


def platform() -> str:
    """JAX's name of it, "cpu" or "gpu": the device that ``keras.device`` chose around the call, else JAX's own choice.

    ``jax.default_backend()`` alone says "gpu" on a machine with one, also in a run that was asked to keep off it.
    """
    device = jax.config.jax_default_device
    if device is None:
        return jax.default_backend()
    return device if isinstance(device, str) else device.platform
