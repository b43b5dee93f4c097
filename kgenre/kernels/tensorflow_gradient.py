"""Functions with a gradient of their own under TensorFlow."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import record


def with_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """``tf.custom_gradient`` for a `tf.GradientTape`, without its leak.

    TensorFlow's registers each gradient that it traces for good, and with it the graph of the step and the memory of
    its variables: some 70 MB for each fit of a small LSTM.

    Args:
        function: takes tensors; returns a tensor or a tuple of tensors, and a function from their gradients to those
            of its arguments.
    """

    @functools.wraps(function)
    def recorded(*arguments: Any) -> Any:
        tensors = list(map(tf.convert_to_tensor, arguments))
        outputs, gradient = function(*tensors)
        outputs = tf.nest.map_structure(tf.identity, outputs)  # new tensors, for which no gradient is recorded yet
        record.record_operation(function.__name__, tf.nest.flatten(outputs), tensors, gradient)
        return outputs

    return recorded
