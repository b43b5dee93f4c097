"""Callbacks: objects whose hooks the `Trainer` calls during a run."""

from typing import TYPE_CHECKING

from kgenre.callbacks.backbone_finetuning import BackboneFinetuning
from kgenre.callbacks.batch_size_finder import BatchSizeFinder
from kgenre.callbacks.callback import Callback
from kgenre.callbacks.device_stats_monitor import DeviceStatsMonitor
from kgenre.callbacks.early_stopping import EarlyStopping
from kgenre.callbacks.gradient_accumulation_scheduler import GradientAccumulationScheduler
from kgenre.callbacks.input_monitor import InputMonitor
from kgenre.callbacks.keras_callback import KerasCallback
from kgenre.callbacks.lambda_callback import LambdaCallback
from kgenre.callbacks.learning_rate_finder import LearningRateFinder
from kgenre.callbacks.learning_rate_monitor import LearningRateMonitor
from kgenre.callbacks.learning_rate_scheduler import ConstantThenDecay, LearningRateScheduler
from kgenre.callbacks.model_checkpoint import ModelCheckpoint
from kgenre.callbacks.model_summary import ModelSummary
from kgenre.callbacks.prediction_writer import PredictionWriter
from kgenre.callbacks.progress_bar import ProgressBar
from kgenre.callbacks.reduce_lr_on_plateau import ReduceLROnPlateau
from kgenre.callbacks.spike_detection import SpikeDetection
from kgenre.callbacks.terminate_on_nan import TerminateOnNaN
from kgenre.callbacks.throughput_monitor import ThroughputMonitor
from kgenre.callbacks.timer import Timer
from kgenre.callbacks.weight_averaging import WeightAveraging

__all__ = [
    "BackboneFinetuning",
    "BatchSizeFinder",
    "Callback",
    "ConstantThenDecay",
    "DeviceStatsMonitor",
    "EarlyStopping",
    "GradientAccumulationScheduler",
    "InputMonitor",
    "KerasCallback",
    "LambdaCallback",
    "LearningRateFinder",
    "LearningRateMonitor",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ModelSummary",
    "PredictionWriter",
    "ProgressBar",
    "ReduceLROnPlateau",
    "SpikeDetection",
    "TerminateOnNaN",
    "ThroughputMonitor",
    "Timer",
    "WeightAveraging",
]

# Lightning's callbacks that have another name here.
_OTHER_NAMES = {
    "BaseFinetuning": "BackboneFinetuning",
    "BasePredictionWriter": "PredictionWriter",
    "EMAWeightAveraging": "WeightAveraging(decay=0.999)",
    "OnExceptionCheckpoint": "ModelCheckpoint(save_on_exception=True)",
    "RichModelSummary": "ModelSummary",
    "RichProgressBar": "ProgressBar",
    "StochasticWeightAveraging": "WeightAveraging(decay=None)",
    "TQDMProgressBar": "ProgressBar",
}


if not TYPE_CHECKING:  # a type checker would accept any name

    def __getattr__(name: str) -> None:
        """Raise an error that says what to write instead of the name of one of Lightning's callbacks."""
        if name in _OTHER_NAMES:
            raise ImportError(f"kgenre.callbacks has no {name}: write {_OTHER_NAMES[name]}.")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
