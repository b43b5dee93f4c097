"""The kind of device that JAX computes on."""

from __future__ import annotations

import os

import jax


class JaxPlatformError(RuntimeError):
    """JAX finds no device of the platforms in ``JAX_PLATFORMS``; the message says what to do."""


def platform() -> str:
    """Return JAX's platform name, such as "cpu" or "gpu": of the enclosing ``keras.device``, else of JAX's own choice.

    ``jax.default_backend()`` alone is "gpu" on a machine with a GPU, even in a run that was told not to use it.

    Raises:
        JaxPlatformError: JAX finds no device of the platforms in ``JAX_PLATFORMS``.
    """
    device = jax.config.jax_default_device
    if device is None:
        try:
            return jax.default_backend()
        except (RuntimeError, AssertionError) as error:  # CUDA without a GPU fails an assertion
            asked = os.environ.get("JAX_PLATFORMS")
            if not asked:
                raise
            raise JaxPlatformError(
                f"JAX_PLATFORMS={asked}, but JAX finds no such device here. Unset it to let JAX choose, or set "
                "JAX_PLATFORMS=cpu. A GPU needs its driver and `pip install 'kgenre[cuda]'`."
            ) from error
    return device if isinstance(device, str) else device.platform
