"""The options with which XLA compiles a step."""

from __future__ import annotations

import os
from functools import cache

import jax

from kgenre.engines.step_options import StepOptions
from kgenre.kernels.jax_platform import platform

_YNNPACK = "xla_cpu_experimental_ynn_fusion_type"


def compiler_options(options: StepOptions, trains: bool) -> dict[str, bool | str]:
    """Return ``compiler_options`` of ``jax.jit`` for the device that JAX computes on.

    Args:
        options: as set by the Trainer's flags.
        trains: the step computes gradients.
    """
    chosen: dict[str, bool | str] = {"xla_gpu_deterministic_ops": True} if options.deterministic else {}
    is_one_cpu = platform() == "cpu" and len(options.devices) < 2
    if trains and is_one_cpu and _YNNPACK not in os.environ.get("XLA_FLAGS", ""):
        chosen |= _eigen_convolutions()
    return chosen


@cache
def _eigen_convolutions() -> dict[str, str]:
    """Leave matrix products and sums to YNNPACK, but no convolutions, if this version of XLA has it.

    By default, XLA computes most convolutions of a training step with YNNPACK. In float32 and bfloat16, on two cores,
    that takes 1.0 to 3 times as long as with Eigen; if each core is a device of its own, 0.8 times. It computes those
    of an evaluation with Eigen. Sums over a batch's pixels (batch normalisation, gradients of biases) take XLA 2 to 10
    times as long as YNNPACK.
    """
    options = {_YNNPACK: "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"}
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return options
