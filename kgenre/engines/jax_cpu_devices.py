"""Splits one CPU into several JAX devices, which share its cores."""

from __future__ import annotations

import contextlib
import os

import jax


def divide_cpu(number: int) -> None:
    """Let JAX see ``number`` CPU devices; no effect once JAX has computed anything, or if the number was set elsewhere.

    A program on one device does not keep the cores busy, as XLA runs many operations of a step on a single core. A step
    divided among several devices does.
    """
    by_flag = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if number > 1 and jax.config.jax_num_cpu_devices == -1 and not by_flag:
        with contextlib.suppress(RuntimeError):  # JAX has already started
            jax.config.update("jax_num_cpu_devices", number)
