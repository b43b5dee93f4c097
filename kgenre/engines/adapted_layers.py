"""The state that Keras's preprocessing layers learn in ``adapt`` and keep outside their variables, for checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kgenre.engines.named_variables import all_layers


def adapted_state(module: Any) -> list[dict[str, Any]]:
    """The boundaries and vocabularies of the module's preprocessing layers, in the order of its layers; JSON values.

    These are `keras.layers.Discretization`, ``IntegerLookup`` and ``StringLookup``, also inside `TextVectorization`.
    ``Normalization`` keeps its statistics in variables.

    Example:
        >>> class Tabular(Module):
        ...     def __init__(self):
        ...         self.buckets = keras.layers.Discretization(bin_boundaries=[0.5])
        >>> adapted_state(Tabular())
        [{'layer': 'Discretization', 'bin_boundaries': [0.5]}]
    """
    return [{"layer": type(layer).__name__, **_state(layer)} for layer in _adaptable(module)]


def set_adapted_state(module: Any, states: Sequence[Mapping[str, Any]]) -> None:
    """Restore what `adapted_state` returned; a layer that had not been adapted stays as it is.

    Raises:
        ValueError: the module has different preprocessing layers.
    """
    layers = _adaptable(module)
    here, there = [type(layer).__name__ for layer in layers], [state["layer"] for state in states]
    if here != there:
        raise ValueError(f"the module has the preprocessing layers {here}, but the checkpoint has {there}")
    for layer, state in zip(layers, states, strict=True):
        if isinstance(layer, keras.layers.Discretization):
            if state["bin_boundaries"] is not None:
                layer.bin_boundaries = list(map(float, state["bin_boundaries"]))
        elif state["vocabulary"]:
            # Always a list: Keras would open a string as a file.
            layer.set_vocabulary(list(state["vocabulary"]), idf_weights=state["idf_weights"])


def _adaptable(module: Any) -> list[Any]:
    kinds = (keras.layers.Discretization, keras.layers.IntegerLookup, keras.layers.StringLookup)
    return [layer for layer in all_layers(module) if isinstance(layer, kinds)]


def _state(layer: Any) -> dict[str, Any]:
    if isinstance(layer, keras.layers.Discretization):
        boundaries = layer.bin_boundaries
        return {"bin_boundaries": None if boundaries is None else [float(boundary) for boundary in boundaries]}
    words = layer.get_vocabulary(include_special_tokens=False)
    weights = None
    if layer.output_mode == "tf_idf" and words:
        first = layer.vocabulary_size() - len(words)
        weights = [float(weight) for weight in layer.idf_weights_const.numpy()[first : first + len(words)]]
    words = [word if isinstance(word, str) else int(word) for word in words]
    return {"vocabulary": words, "idf_weights": weights}
