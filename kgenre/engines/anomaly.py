"""Finds the layer of a step with the first non-finite value, by running the step again, eagerly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from kgenre.engines.built_module import BuiltModule
from kgenre.engines.named_variables import all_layers


def first_layer_not_finite(built: BuiltModule, batch: Any, batch_idx: int) -> keras.Layer | None:
    """Run the training step on a batch eagerly, with the variables' current values.

    Returns:
        The first layer, innermost first, whose output contains a NaN or an infinity, or None.
    """
    found: list[keras.Layer] = []

    def look(layer: keras.Layer, outputs: Any) -> None:
        if not found and not is_finite(outputs):
            found.append(layer)

    with _watched(built.module, look):
        built.run("train", (batch, ops.convert_to_tensor(batch_idx, "int32")))
    return found[0] if found else None


def is_finite(tree: Any) -> bool:
    """Whether no tensor of a structure contains a NaN or an infinity."""
    return all(_is_finite(leaf) for leaf in keras.tree.flatten(tree))


def _is_finite(leaf: Any) -> bool:
    try:
        array = np.asarray(ops.convert_to_numpy(leaf))
    except Exception:  # no values inside a recurrent layer's loop: each backend raises its own error
        return True
    return array.dtype.kind not in "fV" or bool(np.isfinite(array.astype("float32")).all())  # V: bfloat16


@contextmanager
def _watched(module: Any, look: Callable[[keras.Layer, Any], None]) -> Iterator[None]:
    """Call ``look(layer, outputs)`` after each layer."""
    layers = all_layers(module)

    def watched(layer: keras.Layer) -> Callable[..., Any]:
        call = layer.call

        def call_and_look(*arguments: Any, **named: Any) -> Any:
            outputs = call(*arguments, **named)
            look(layer, outputs)
            return outputs

        return call_and_look

    for layer in layers:
        vars(layer)["call"] = watched(layer)  # bypasses Keras's tracking of attributes
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["call"]
