"""The trainer: Module, DataModule, Trainer and their loops."""

from kgenre.training.array_dataset import ArrayDataset
from kgenre.training.data_module import DataModule, EpochBatches
from kgenre.training.errors import TrainerError
from kgenre.training.module import Module
from kgenre.training.seed import seed_everything
from kgenre.training.trainer import Trainer

__all__ = [
    "ArrayDataset",
    "DataModule",
    "EpochBatches",
    "Module",
    "Trainer",
    "TrainerError",
    "seed_everything",
]
