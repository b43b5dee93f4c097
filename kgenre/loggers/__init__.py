"""Loggers: where metrics, text and hyperparameters of a run are written."""

from kgenre.loggers.csv import CSVLogger
from kgenre.loggers.in_memory import InMemoryLogger
from kgenre.loggers.logger import Logger, LoggerError, takes_pictures
from kgenre.loggers.mlflow import MLFlowLogger
from kgenre.loggers.tensorboard import TensorBoardLogger
from kgenre.loggers.wandb import WandbLogger

__all__ = [
    "CSVLogger",
    "InMemoryLogger",
    "Logger",
    "LoggerError",
    "MLFlowLogger",
    "TensorBoardLogger",
    "WandbLogger",
    "takes_pictures",
]
