"""A warning about a training step that reads the losses of layers, which are added to the loss that it returns."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


@contextmanager
def warning_of_read_losses(step: str) -> Iterator[None]:
    """Warn if a step run inside the context reads ``layer.losses``, as loops for Keras models do.

    ``Layer.losses`` is patched meanwhile: for all threads, so that one step at a time must run in such a context.
    """
    losses, thread, owners = keras.Layer.losses, threading.get_ident(), []

    def watched(layer: Any) -> Any:
        if threading.get_ident() == thread:
            owners.append(layer.name)
        return losses.fget(layer)

    keras.Layer.losses = property(watched)
    try:
        yield
    finally:
        keras.Layer.losses = losses
    if owners:
        warnings.warn(
            f"{step} reads the losses of {owners[0]!r} (of its regularisers and add_loss). They are added to the loss "
            "that it returns, and count twice if it contains them: leave them out there. To log them is fine.",
            stacklevel=1,
        )
