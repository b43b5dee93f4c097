"""Callbacks: what is hung into a run from outside."""

from kgenre.callbacks.callback import Callback
from kgenre.callbacks.early_stopping import EarlyStopping
from kgenre.callbacks.learning_rate_monitor import LearningRateMonitor
from kgenre.callbacks.learning_rate_scheduler import ConstantThenDecay, LearningRateScheduler
from kgenre.callbacks.model_checkpoint import ModelCheckpoint
from kgenre.callbacks.model_summary import ModelSummary
from kgenre.callbacks.progress_bar import ProgressBar
from kgenre.callbacks.throughput_monitor import ThroughputMonitor

__all__ = [
    "Callback",
    "ConstantThenDecay",
    "EarlyStopping",
    "LearningRateMonitor",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ModelSummary",
    "ProgressBar",
    "ThroughputMonitor",
]
