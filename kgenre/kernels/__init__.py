"""Operations written per backend where `keras.ops` is not enough. Importing this package imports no backend."""

from kgenre.kernels.batch_normalization import batch_normalization
from kgenre.kernels.bias import add_bias
from kgenre.kernels.convolution import convolution
from kgenre.kernels.divided_batch import divided_batch
from kgenre.kernels.dropout import dropout
from kgenre.kernels.keras_only import keras_only
from kgenre.kernels.masked_lstm import Direction, masked_lstm
from kgenre.kernels.max_pooling import max_pooling

__all__ = [
    "Direction",
    "add_bias",
    "batch_normalization",
    "convolution",
    "divided_batch",
    "dropout",
    "keras_only",
    "masked_lstm",
    "max_pooling",
]
