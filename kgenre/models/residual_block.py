"""The residual block of the course's 2025 poster CNN."""

from __future__ import annotations

from typing import Any

import keras

from kgenre.models.kernel_layers import Conv2D, Dropout


@keras.saving.register_keras_serializable(package="kgenre")
class ResidualBlock(keras.layers.Layer):
    """``relu(main(x) + skip(x))``: two 3x3 convolutions with dropout, and one 1x1 convolution in parallel.

    ``main`` is Conv3x3 with ReLU, Dropout, Conv3x3 without activation, Dropout; ``skip`` is Conv1x1 without
    activation. As in the course, the skip is a convolution even where the shapes already agree. Weights:
    ``9 f (c + f) + c f + 3 f`` for ``c`` input channels and ``f`` filters. After He et al. (2016), "Deep
    Residual Learning for Image Recognition" (https://arxiv.org/abs/1512.03385), with dropout in place of
    batch normalisation.

    Input: float (B, H, W, c), channels last whatever ``keras.json`` says. Output: (B, H', W', filters) of the
    layer's compute dtype, with ``H' = ceil(H / strides)``.

    Args:
        filters: channels of the output.
        dropout: rate of both dropouts, 0 <= dropout < 1.
        strides: stride of the first 3x3 convolution and of the skip.
        **kwargs: ``name``, ``dtype`` and ``trainable``, as for every Keras layer.

    Example:
        >>> ResidualBlock(64).compute_output_shape((None, 32, 32, 32))
        (None, 32, 32, 64)
    """

    def __init__(self, filters: int, dropout: float = 0.2, strides: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.dropout = dropout
        self.strides = strides
        dtype = self.dtype_policy
        conv = {"padding": "same", "data_format": "channels_last", "dtype": dtype}
        self.conv1 = Conv2D(filters, 3, strides, activation="relu", name="conv1", **conv)
        self.drop1 = Dropout(dropout, name="drop1", dtype=dtype)
        self.conv2 = Conv2D(filters, 3, name="conv2", **conv)
        self.drop2 = Dropout(dropout, name="drop2", dtype=dtype)
        self.skip = Conv2D(filters, 1, strides, name="skip", **conv)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights for inputs of shape (B, H, W, c); only c has to be known."""
        inner_shape = self.compute_output_shape(input_shape)
        self.conv1.build(input_shape)
        self.conv2.build(inner_shape)
        self.skip.build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Map (B, H, W, c) to (B, H', W', filters); dropout acts only when ``training``."""
        main = self.drop1(self.conv1(inputs), training=training)
        main = self.drop2(self.conv2(main), training=training)
        return keras.ops.relu(main + self.skip(inputs))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the output's shape (B, H', W', filters) for an input's shape (B, H, W, c)."""
        return self.skip.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of ``__init__``, for ``from_config`` and ``keras.saving``."""
        return super().get_config() | {"filters": self.filters, "dropout": self.dropout, "strides": self.strides}
