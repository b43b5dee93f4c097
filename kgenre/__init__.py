"""kgenre: a Lightning-style trainer on Keras 3, with film-genre classification from posters and overviews on top.

``import kgenre`` imports no backend: names are resolved on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kgenre.messages import show_messages

if TYPE_CHECKING:
    from kgenre.callbacks import Callback
    from kgenre.engines.input_gradient import gradient
    from kgenre.training import ArrayDataset, DataModule, Module, Trainer, TrainerError, seed_everything

__version__ = "0.1.0"

_HOMES = {
    "ArrayDataset": "kgenre.training",
    "Callback": "kgenre.callbacks",
    "DataModule": "kgenre.training",
    "Module": "kgenre.training",
    "Trainer": "kgenre.training",
    "gradient": "kgenre.engines.input_gradient",
    "TrainerError": "kgenre.training",
    "seed_everything": "kgenre.training",
}

__all__ = ["ArrayDataset", "Callback", "DataModule", "Module", "Trainer", "TrainerError", "gradient", "seed_everything"]

# Names of Lightning's package, and what to write instead.
_REPLACEMENTS = {
    "LightningModule": "kgenre.Module",
    "LightningDataModule": "kgenre.DataModule",
    "LightningCLI": "kgenre fit --model mymodule.Net --data mymodule.Data, on the command line",
}

show_messages()

_PACKAGES = ("callbacks", "data", "evaluation", "loggers", "models", "profilers", "reports", "training", "tuning")


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"kgenre.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _REPLACEMENTS:
        raise ImportError(f"kgenre has no {name}: write {_REPLACEMENTS[name]}.")
    raise AttributeError(f"module 'kgenre' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES})
