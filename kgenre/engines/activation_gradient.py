"""A layer's output and the gradient of a score with respect to it, on any backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def activation_gradient(layer: Any, score: Callable[[], Any]) -> tuple[np.ndarray, np.ndarray]:
    """Run ``score`` once, and return the output of ``layer`` in it and the score's gradient with respect to it.

    The gradient is taken with respect to zeros added to the layer's output, so that masks and later layers work
    unchanged in any kind of model. No variable changes.

    Args:
        layer: a Keras layer that ``score`` runs once and whose output is one float tensor.
        score: returns a scalar tensor, without random numbers or training.

    Returns:
        The output and the gradient, float arrays of the same shape.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(1)])
        >>> output, gradient = activation_gradient(model.layers[0], lambda: ops.sum(model(np.ones((1, 2)))))
        >>> output.shape, gradient.shape
        ((1, 3), (1, 3))
    """
    import keras

    call = layer.call

    def output_and_score(zeros: Any) -> tuple[Any, Any]:
        seen: list[Any] = []

        def shifted(*args: Any, **kwargs: Any) -> Any:
            seen.append(call(*args, **kwargs))
            if zeros is None:
                return seen[-1]
            moved = seen[-1] + zeros
            mask = getattr(seen[-1], "_keras_mask", None)
            if mask is not None:
                moved._keras_mask = mask
            return moved

        # Layers may advance seeds even in inference: the scope discards such changes.
        stateless = keras.StatelessScope() if keras.backend.backend() == "jax" else nullcontext()
        with _replaced(layer, shifted), stateless:
            value = score()
        return value, seen[-1]

    output, gradient = _BACKENDS[keras.backend.backend()](output_and_score)
    return keras.ops.convert_to_numpy(output), keras.ops.convert_to_numpy(gradient)


def _jax(output_and_score: Callable[[Any], tuple[Any, Any]]) -> tuple[Any, Any]:
    import jax

    shape = jax.eval_shape(lambda: output_and_score(None)[1])
    # Compiled as a whole: in eager mode, JAX would compile each operation by itself.
    gradient, output = jax.jit(jax.grad(output_and_score, has_aux=True))(jax.numpy.zeros(shape.shape, shape.dtype))
    return output, gradient


def _tensorflow(output_and_score: Callable[[Any], tuple[Any, Any]]) -> tuple[Any, Any]:
    import tensorflow as tf

    @tf.function(autograph=False)  # kernels compiled by XLA have no gradient outside a tf.function
    def traced(zeros: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch(zeros)
            score, output = output_and_score(zeros)
        return output, tape.gradient(score, zeros)

    zeros = tf.zeros_like(output_and_score(None)[1])
    return traced.get_concrete_function(zeros)(zeros)  # calling `traced` itself would warn the fifth time


def _torch(output_and_score: Callable[[Any], tuple[Any, Any]]) -> tuple[Any, Any]:
    import torch

    with torch.enable_grad():
        zeros = torch.zeros_like(output_and_score(None)[1]).requires_grad_(True)
        score, output = output_and_score(zeros)
        return output, torch.autograd.grad(score, zeros)[0]


_BACKENDS = {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}


@contextmanager
def _replaced(layer: Any, call: Callable[..., Any]) -> Iterator[None]:
    """Replace the layer's ``call`` inside the context."""
    vars(layer)["call"] = call  # bypasses Keras's tracking of attributes
    try:
        yield
    finally:
        del vars(layer)["call"]
