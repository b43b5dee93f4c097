"""What is compiled into the training step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepOptions:
    """Clipping, accumulation, compiler and devices, as the Trainer's flags give them."""

    gradient_clip_val: float | None = None
    gradient_clip_algorithm: str = "norm"
    accumulate_grad_batches: int = 1
    loss_scaling: bool = False  # for float16; see `LossScale`
    jit_compile: bool = False  # TensorFlow only (JAX always compiles): with XLA
    devices: tuple[str, ...] = ()  # to compute on; several (under JAX) share each batch; none: the backend's choice
    deterministic: bool = False  # JAX compiles with what a GPU needs for it; see `make_deterministic`
