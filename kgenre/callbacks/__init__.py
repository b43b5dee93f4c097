"""Callbacks: what is hung into a run from outside."""

from kgenre.callbacks.callback import Callback
from kgenre.callbacks.early_stopping import EarlyStopping
from kgenre.callbacks.lambda_callback import LambdaCallback
from kgenre.callbacks.learning_rate_monitor import LearningRateMonitor
from kgenre.callbacks.learning_rate_scheduler import ConstantThenDecay, LearningRateScheduler
from kgenre.callbacks.model_checkpoint import ModelCheckpoint
from kgenre.callbacks.model_summary import ModelSummary
from kgenre.callbacks.progress_bar import ProgressBar
from kgenre.callbacks.reduce_lr_on_plateau import ReduceLROnPlateau
from kgenre.callbacks.terminate_on_nan import TerminateOnNaN
from kgenre.callbacks.throughput_monitor import ThroughputMonitor
from kgenre.callbacks.timer import Timer

__all__ = [
    "Callback",
    "ConstantThenDecay",
    "EarlyStopping",
    "LambdaCallback",
    "LearningRateMonitor",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ModelSummary",
    "ProgressBar",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
    "ThroughputMonitor",
    "Timer",
]
