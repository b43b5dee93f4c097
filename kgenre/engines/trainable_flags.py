"""Which layers and variables are trainable: part of a run's state, as hooks may freeze and unfreeze them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kgenre.engines.named_variables import keras_layers, named_variables


def trainable_flags(module: Any) -> dict[str, bool]:
    """``trainable`` of each layer and variable of a built module, by structural name."""
    return {name: bool(part.trainable) for name, part in _parts(module).items()}


def set_trainable_flags(module: Any, flags: Mapping[str, bool]) -> None:
    """Restore what `trainable_flags` returned; layers and variables without a flag stay as they are."""
    wanted = {**trainable_flags(module), **flags}
    for name, part in _parts(module).items():  # outer layers come first: setting one sets its sublayers
        if part.trainable != wanted[name]:
            part.trainable = wanted[name]


def _parts(module: Any) -> dict[str, Any]:
    layers = {
        f"layers.{i}.{j}": part
        for i, outer in enumerate(keras_layers(module))
        for j, part in enumerate(outer._flatten_layers())
    }
    return layers | {f"variables.{name}": variable for name, variable in named_variables(module).items()}
