"""Loggers: where metrics, text and hyperparameters of a run are written."""

from kgenre.loggers.csv import CSVLogger
from kgenre.loggers.in_memory import InMemoryLogger
from kgenre.loggers.logger import Logger
from kgenre.loggers.tensorboard import TensorBoardLogger

__all__ = ["CSVLogger", "InMemoryLogger", "Logger", "TensorBoardLogger"]
