"""Several JAX devices of one CPU, which share its cores."""

from __future__ import annotations

import contextlib
import os

import jax


def divide_cpu(number: int) -> None:
    """Let JAX see so many CPU devices; without effect once it has computed anything, or where somebody chose before.

    One program does not keep the cores busy: XLA runs many operations of a step on one of them. A step that several
    devices share does.
    """
    by_flag = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if number > 1 and jax.config.jax_num_cpu_devices == -1 and not by_flag:
        with contextlib.suppress(RuntimeError):  # JAX has started
            jax.config.update("jax_num_cpu_devices", number)
