"""Search before training: a learning rate, a batch size."""

from kgenre.tuning.tuner import Tuner

__all__ = ["Tuner"]
