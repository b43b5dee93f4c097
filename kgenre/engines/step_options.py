"""The options that are compiled into the training step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepOptions:
    """Clipping, accumulation, compiler and devices, as set by the Trainer's flags."""

    gradient_clip_val: float | None = None
    gradient_clip_algorithm: str = "norm"
    accumulate_grad_batches: int = 1
    loss_scaling: bool = False  # for float16; see `LossScale`
    jit_compile: bool = False  # with XLA; TensorFlow only (JAX always uses it)
    devices: tuple[str, ...] = ()  # several (under JAX) share each batch; none: the backend's choice
    deterministic: bool = False  # JAX compiles with an option for GPUs; see `make_deterministic`
