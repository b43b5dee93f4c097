"""Searches before training, for a learning rate or a batch size."""

from kgenre.tuning.tuner import Tuner

__all__ = ["Tuner"]
