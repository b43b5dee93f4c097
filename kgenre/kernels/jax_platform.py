"""Which kind of device JAX computes on here."""

from __future__ import annotations

import os

import jax


class JaxPlatformError(RuntimeError):
    """JAX has none of the devices that ``JAX_PLATFORMS`` names; the message says so."""


def platform() -> str:
    """JAX's name of it, "cpu" or "gpu": the device that ``keras.device`` chose around the call, else JAX's own choice.

    ``jax.default_backend()`` alone says "gpu" on a machine with one, also in a run that was asked to keep off it.

    Raises:
        JaxPlatformError: ``JAX_PLATFORMS`` names what is not here.
    """
    device = jax.config.jax_default_device
    if device is None:
        try:
            return jax.default_backend()
        except (RuntimeError, AssertionError) as error:  # of CUDA without a GPU it asserts that there is a device
            asked = os.environ.get("JAX_PLATFORMS")
            if not asked:
                raise
            raise JaxPlatformError(
                f"JAX_PLATFORMS={asked}, but JAX finds no such device here. Unset it and JAX takes what there is, or "
                "set JAX_PLATFORMS=cpu; a GPU needs its driver and pip install 'kgenre[cuda]'."
            ) from error
    return device if isinstance(device, str) else device.platform
