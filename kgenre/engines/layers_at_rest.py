"""Layers that act in training alone: Lightning switches them on by itself, Keras where a call says training=True."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

# Of each, what is zero where the layer never does anything.
_AMOUNTS = ("rate", "stddev", "dropout", "recurrent_dropout")


@contextmanager
def noted_at_rest(wanted: bool) -> Iterator[dict[str, str]]:
    """Around a training step: the layers that it calls without a word on ``training``, name -> class.

    Keras tells a layer nothing of who said so: its ``__call__`` is watched meanwhile.
    """
    found: dict[str, str] = {}
    call = keras.Layer.__call__
    is_said: bool | None = None  # None: outside of all layers

    def watched(layer: Any, *inputs: Any, **options: Any) -> Any:
        nonlocal is_said
        outer, training = is_said, options.get("training")
        # Inside a layer that was told nothing, False is but the default that it hands on.
        is_said = training is not None if outer is None else outer or bool(training)
        if not is_said and _acts_in_training(layer):
            found[layer.name] = type(layer).__name__
        try:
            return call(layer, *inputs, **options)
        finally:
            is_said = outer

    if wanted:
        keras.Layer.__call__ = watched
    try:
        yield found
    finally:
        keras.Layer.__call__ = call


def warn_at_rest(found: dict[str, str], step: str) -> None:
    """Warn of what `noted_at_rest` found."""
    if found:
        name, kind = next(iter(found.items()))
        warnings.warn(
            f"{step} calls the {kind} {name!r} without training=True, so it works as in an evaluation. Give it where "
            "the step calls the model: self.model(x, training=True), or training=False if that is meant.",
            stacklevel=2,
        )


def _acts_in_training(layer: Any) -> bool:
    layers = keras.layers
    if isinstance(layer, layers.BatchNormalization):
        return layer.trainable
    kinds = layers.Dropout | layers.GaussianDropout | layers.AlphaDropout | layers.GaussianNoise | layers.RNN
    return isinstance(layer, kinds) and any(getattr(layer, name, 0) for name in _AMOUNTS)
