"""Gradient clipping, in `keras.ops`, traced into the step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops


def clip(gradients: Sequence[Any], limit: float, algorithm: str) -> list[Any]:
    """Clip by the global norm over all gradients ("norm"), or each element to [-limit, limit] ("value").

    The norm rule is from Pascanu et al. 2013, https://arxiv.org/abs/1211.5063: g * min(1, limit / ||g||).
    """
    if algorithm == "value":
        return [ops.clip(gradient, -limit, limit) for gradient in gradients]
    scale = ops.minimum(1.0, limit / (global_norm(gradients) + 1e-6))  # 1e-6 as in torch: a zero gradient stays zero
    return [gradient * ops.cast(scale, gradient.dtype) for gradient in gradients]


def global_norm(gradients: Sequence[Any]) -> Any:
    """The Euclidean norm of all gradients together: a float32 scalar."""
    return ops.sqrt(sum(ops.sum(ops.square(ops.cast(gradient, "float32"))) for gradient in gradients))
