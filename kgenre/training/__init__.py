"""The trainer: Module, DataModule, Trainer and their loops.

`Trainer.fit` shows the order of a fit: ``stage.py`` prepares data and model and builds the engine, ``resume.py``
restores a checkpoint, ``open_run.py`` opens the run's folder and the loggers, ``fit_loop.py`` trains. What changes
while it runs is in `Run`: the counters, `FitSchedule` (what is due when), `Results` (what was logged), `Hooks`.
"""

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
