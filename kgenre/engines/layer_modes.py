"""Warnings about layers that are called in the wrong mode, because a step does not pass them ``training``.

In Lightning, dropout and the like are switched on and off by the trainer; in Keras they act only if called with
training=True. Keras's image augmentation layers, however, act unless called with training=False.
"""

from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

# Attributes of such layers; one whose amounts are all zero never does anything.
_AMOUNTS = ("rate", "stddev", "dropout", "recurrent_dropout")


@contextmanager
def warning_of_wrong_mode(step: str, training_step: bool) -> Iterator[None]:
    """Warn of the first layer that a step run inside the context calls in the wrong mode.

    In a training step: a layer that acts only in training, but is never called with training=True, and at least once
    without ``training``. In any other step: a layer that acts although it is called without ``training``.

    A layer cannot tell where its ``training`` comes from, so ``Layer.__call__`` is patched meanwhile: for all
    threads, so that one step at a time must run in such a context.
    """
    wrong: dict[int, keras.Layer] = {}
    right: set[int] = set()
    call = keras.Layer.__call__
    depth, mode, thread = 0, None, threading.get_ident()

    def watched(layer: Any, *inputs: Any, **options: Any) -> Any:
        nonlocal depth, mode
        if threading.get_ident() != thread:
            return call(layer, *inputs, **options)
        outer, training = mode, options.get("training")
        # Inside a layer called without ``training``, False is only the default that this layer passes on.
        mode = training if depth == 0 else outer if outer is not None else training or None
        unspecified = training is None if depth == 0 else outer is None
        depth += 1
        if mode is None and _acts_in_training(layer) if training_step else unspecified and _acts_by_default(layer):
            wrong[id(layer)] = layer
        elif mode and training_step:
            right.add(id(layer))
        try:
            return call(layer, *inputs, **options)
        finally:
            depth, mode = depth - 1, outer

    keras.Layer.__call__ = watched
    try:
        yield
    finally:
        keras.Layer.__call__ = call
    if found := [layer for key, layer in wrong.items() if key not in right]:
        wanted, instead, acts = ("True", "False", "evaluation") if training_step else ("False", "True", "training")
        warnings.warn(
            f"{step} calls the {type(found[0]).__name__} {found[0].name!r} without training={wanted}, so the layer "
            f"behaves as in {acts}. Call the model with self.model(x, training={wanted}), or with training={instead} "
            "if that is intended.",
            stacklevel=1,
        )


def _acts_by_default(layer: Any) -> bool:
    training = inspect.signature(layer.call).parameters.get("training")
    return (
        training is not None
        and training.default is True
        and any(part._seed_generators for part in layer._flatten_layers())
    )


def _acts_in_training(layer: Any) -> bool:
    layers = keras.layers
    if isinstance(layer, layers.BatchNormalization):
        return layer.trainable
    kinds = layers.Dropout | layers.GaussianDropout | layers.AlphaDropout | layers.GaussianNoise | layers.RNN
    return isinstance(layer, kinds) and any(getattr(layer, name, 0) for name in _AMOUNTS)
