"""Keras's Bidirectional, with LSTMs computed by `kgenre.kernels.masked_lstm`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import keras
from keras import ops

from kgenre.kernels import Direction, masked_lstm


@keras.saving.register_keras_serializable(package="kgenre")
class Bidirectional(keras.layers.Bidirectional):
    """``keras.layers.Bidirectional`` with the same arguments, weights, dropout and results, but faster LSTMs.

    `kgenre.kernels.masked_lstm` computes what it supports: an LSTM in each direction with tanh, sigmoid and a bias,
    from zero states, the two directions concatenated, and a mask that pads on the right. Everything else, and any
    backend without such a kernel, is left to Keras. The same seeds give the same dropout in both cases.

    Example:
        >>> layer = Bidirectional(keras.layers.LSTM(256, dropout=0.5, recurrent_dropout=0.2, return_sequences=True))
        >>> tuple(layer(np.zeros((2, 7, 3), "float32"), mask=np.ones((2, 7), bool)).shape)
        (2, 7, 512)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with _copying_without_tensorflow():
            super().__init__(*args, **kwargs)

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool | None = None) -> Any:
        """Map (B, T, D) to (B, T, 2H), or (B, 2H) without ``return_sequences``; ``mask``: bool (B, T)."""
        if initial_state is None and self._kernel_covers():
            try:
                directions = [self._direction(layer, sequences, training) for layer in self._both]
                outputs, last = masked_lstm(sequences, mask, *directions)
            except NotImplementedError:
                pass  # Keras then uses the same dropout masks: its cells keep them until they are reset
            else:
                for layer in self._both:
                    layer._maybe_reset_dropout_masks(layer.cell)
                return ops.concatenate(outputs if self.return_sequences else last, -1)
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)

    @property
    def _both(self) -> tuple[Any, Any]:
        return self.forward_layer, self.backward_layer

    def _kernel_covers(self) -> bool:
        if self.merge_mode != "concat" or self.stateful or self.return_state:
            return False
        return all(
            type(layer) is keras.layers.LSTM
            and layer.activation is keras.activations.tanh
            and layer.recurrent_activation is keras.activations.sigmoid
            and layer.use_bias
            and not layer.unroll
            and layer.activity_regularizer is None
            and layer.units == self.forward_layer.units
            and layer.recurrent_dropout == self.forward_layer.recurrent_dropout
            for layer in self._both
        ) and (self.forward_layer.go_backwards, self.backward_layer.go_backwards) == (False, True)

    def _direction(self, layer: Any, sequences: Any, training: bool | None) -> Direction:
        cell = layer.cell
        input_dropout = recurrent_dropout = None
        if training and 0 < cell.dropout < 1:  # Keras drops nothing at a rate of 1
            input_dropout = cell.get_dropout_mask(sequences[:, 0])
            if isinstance(input_dropout, list):
                input_dropout = ops.stack(input_dropout)
        if training and 0 < cell.recurrent_dropout < 1:
            zeros = ops.zeros((ops.shape(sequences)[0], cell.units), self.compute_dtype)
            recurrent_dropout = ops.stack(cell.get_recurrent_dropout_mask(zeros))
        weights = (cell.kernel, cell.recurrent_kernel, cell.bias)
        kernel, recurrent_kernel, bias = (ops.convert_to_tensor(weight) for weight in weights)
        return Direction(kernel, recurrent_kernel, bias, input_dropout, recurrent_dropout)


@contextlib.contextmanager
def _copying_without_tensorflow() -> Iterator[None]:
    """Keep Keras, which copies the layer through its config, from importing TensorFlow to look for its types there."""
    from keras.src.saving import serialization_lib

    known = getattr(serialization_lib, "tf", None)
    if known is None or "tensorflow" in sys.modules:
        yield
        return
    serialization_lib.tf = SimpleNamespace(available=False)
    try:
        yield
    finally:
        serialization_lib.tf = known
