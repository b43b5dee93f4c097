"""The gradient of a function inside a step, as a term that a loss may contain: `keras.ops` has none."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any


def gradient(function: Callable[[Any], Any], inputs: Any) -> Any:
    """The gradient of ``function(inputs)`` with respect to ``inputs``, on any backend; a loss may depend on it.

    For gradient penalties (of a WGAN's critic, https://arxiv.org/abs/1704.00028), adversarial examples, derivatives in
    a physics-informed loss. The function's changes to variables (dropout seeds, BatchNorm statistics) and logged
    values take effect as anywhere in a step; in a hook, no variable changes.

    Args:
        function: returns a tensor, whose sum is differentiated: if rows do not depend on each other, each row has its
            own gradient. It may call `gradient` itself, for second derivatives.
        inputs: a float tensor or array, or a structure of these.

    Returns:
        The same structure, tensors of the inputs' shapes and dtypes.

    Example:
        >>> slopes = gradient(lambda x: self.critic(x, training=True), made)
        >>> norms = ops.sqrt(ops.sum(ops.square(slopes), axis=-1) + 1e-12)
        >>> penalty = 10.0 * ops.mean((norms - 1.0) ** 2)
    """
    import keras

    from kgenre.engines.traced_step import StepScope, current_scope

    inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, inputs)
    of_backend = _BACKENDS[keras.backend.backend()]
    with nullcontext() if current_scope() else StepScope(None):
        return of_backend(lambda x: keras.ops.sum(function(x)), inputs)


def _jax(total: Callable[[Any], Any], inputs: Any) -> Any:
    import jax

    from kgenre.engines.step_logs import StepLogs, current
    from kgenre.engines.traced_step import current_scope

    scope = current_scope()
    assert scope is not None  # the step's, or the one that `gradient` opened
    values, before = dict(scope.state_mapping), list(scope.losses)
    logs = current() or StepLogs(training=True)
    logged = len(logs.values)

    def is_new(loss: Any) -> bool:  # Keras removes a layer's loss when the layer is called again
        return all(loss is not other for other in before)

    def with_changes(inputs: Any) -> tuple[Any, Any]:
        # Values assigned to variables and logged in here must leave JAX's inner trace as outputs, too.
        result = total(inputs)
        changed = {key: value for key, value in scope.state_mapping.items() if values.get(key) is not value}
        return result, (changed, list(filter(is_new, scope.losses)), logs.values[logged:], logs.weights[logged:])

    slopes, (changed, more, *recorded) = jax.grad(with_changes, has_aux=True)(inputs)
    scope.state_mapping |= changed
    logs.values[logged:], logs.weights[logged:] = recorded
    scope.losses[:] = [loss for loss in scope.losses if not is_new(loss)] + more
    return slopes


def _tensorflow(total: Callable[[Any], Any], inputs: Any) -> Any:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        result = total(inputs)
    return tape.gradient(result, inputs, unconnected_gradients="zero")


def _torch(total: Callable[[Any], Any], inputs: Any) -> Any:
    import keras
    import torch

    with torch.enable_grad():
        leaves = [x if x.requires_grad else x.detach().requires_grad_() for x in keras.tree.flatten(inputs)]
        result = total(keras.tree.pack_sequence_as(inputs, leaves))
        slopes = torch.autograd.grad(result, leaves, create_graph=True, materialize_grads=True)
    return keras.tree.pack_sequence_as(inputs, list(slopes))


_BACKENDS = {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}
