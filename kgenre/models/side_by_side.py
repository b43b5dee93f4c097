"""Combines networks side by side into one model, and returns each member's own output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kgenre.models.fused_log_odds import FusedLogOdds


def side_by_side(networks: Sequence[keras.Model], name: str, mean: bool = False) -> keras.Model:
    """Join networks by a `FusedLogOdds`, which returns the mean of their log-odds until other weights are set.

    `GenreClassifier` trains each of them on its own loss, as if it were alone: with a joint loss, members would correct
    each other's mistakes and become alike, and a mean gains from disagreement.

    Args:
        networks: built models with inputs "overview" or "poster" or both, of the same sizes, that return float32 (B, G)
            probabilities. They are renamed: each name gets a number.
        name: name of the combined model.
        mean: see `FusedLogOdds`.

    Returns:
        A built model with the inputs of all networks and one output, float32 (B, G).

    Example:
        >>> side_by_side([overview_lstm_pooled(), overview_words()], "both").output_shape
        (None, 25)
    """
    inputs: dict[str, keras.KerasTensor] = {}
    outputs, read = [], []
    for number, network in enumerate(networks, start=1):
        own = {}
        for tensor in network.inputs:
            if tensor.name not in inputs:
                inputs[tensor.name] = keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=tensor.name)
            own[tensor.name] = inputs[tensor.name]
        network.name = f"{network.name}_{number}"
        outputs.append(network(call_inputs(network, own)))
        read.append(list(own.values()))
    whole = FusedLogOdds(mean, dtype="float32", name="Fusion")(outputs, read)
    return keras.Model(list(inputs.values()) if len(inputs) > 1 else next(iter(inputs.values())), whole, name=name)


def each_member(model: keras.Model, read: Mapping[str, Any], training: bool) -> list[Any]:
    """Return the output of each network in a `side_by_side` model; for any other model, its own output.

    Args:
        model: from `side_by_side`, possibly nested, or any other.
        read: the input tensors by name.
        training: with dropout and the like.

    Returns:
        (B, G) probabilities of each member.
    """
    if members := members_of(model):
        return [output for member in members for output in each_member(member, read, training)]
    return [model(call_inputs(model, read), training=training)]


def members_of(model: keras.Model) -> list[keras.Model]:
    """Return the networks in a `side_by_side` model; [] for any other."""
    if not isinstance(model.layers[-1], FusedLogOdds):
        return []
    return [layer for layer in model.layers if isinstance(layer, keras.Model)]


def call_inputs(model: keras.Model, read: Mapping[str, Any]) -> Any:
    """Return what a model is called with: its inputs from ``read``, in the structure that it was built with.

    Given a dict in place of a list, Keras matches names when it computes, but not when it builds another model.
    """
    if len(model.inputs) == 1:
        return read[model.inputs[0].name]
    return keras.tree.map_structure(lambda tensor: read[tensor.name], model.input)
