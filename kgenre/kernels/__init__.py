"""Operations written per backend where `keras.ops` is not enough. Importing this package imports no backend."""

from kgenre.kernels.masked_lstm import Direction, masked_lstm

__all__ = ["Direction", "masked_lstm"]
