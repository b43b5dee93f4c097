"""Errors for arguments of public functions: those of Lightning that do not exist here, and those of a wrong type."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from difflib import get_close_matches
from itertools import chain, islice
from typing import Any, ParamSpec, TypeVar

from kgenre.argument_types import wrong_argument
from kgenre.users_code import ShortTraceback

P = ParamSpec("P")
R = TypeVar("R")

_ONE_PROCESS = "there is only one process: leave it out"
_PREFIX = "write it into the names, self.log('prefix/loss', value)"
_NUMBERED = "runs are numbered; a name may have folders, name='kfold/fold_0'"
_FOUND_AGAIN = "a resumed run finds its own again: leave it out"
_RATES = "only rates are logged; log others in a hook, self.log(name, value)"
_ROWS = "the rows of the batch's first array are counted: leave it out"
_NO_CODE = "checkpoints contain no code: leave it out"

REPLACEMENTS: dict[str, dict[str, str]] = {
    "Trainer": {
        **dict.fromkeys(("num_nodes", "use_distributed_sampler", "sync_batchnorm"), _ONE_PROCESS),
        "plugins": "precision and strategy are arguments of their own: leave it out",
        "benchmark": "the backend chooses the fastest kernels itself: leave it out",
        "inference_mode": "evaluations compute no gradients: leave it out",
        "enable_autolog_hparams": "write self.save_hyperparameters(logger=False) in the module",
        "model_registry": "checkpoints stay in the run's folder: leave it out",
        # of older versions, and Keras's
        "gpus": "write accelerator='gpu', devices=1",
        "resume_from_checkpoint": "write trainer.fit(..., ckpt_path=...)",
        "checkpoint_callback": "write enable_checkpointing",
        "auto_lr_find": "write callbacks=[LearningRateFinder()]",
        "auto_scale_batch_size": "write callbacks=[BatchSizeFinder()]",
        "epochs": "write max_epochs",
    },
    "seed_everything": {
        "workers": "ArrayDataset takes this seed, other data sources have their own: leave it out",
        "verbose": "nothing is printed: leave it out",
    },
    "Trainer.fit": {
        "weights_only": _NO_CODE,
        "epochs": "write Trainer(max_epochs=...)",
        "callbacks": "write Trainer(callbacks=...)",
        "batch_size": "what provides the batches chooses it",
        "validation_data": "write val_dataloaders",
    },
    **{f"Trainer.{name}": {"weights_only": _NO_CODE} for name in ("validate", "test", "predict")},
    "Module.log": {
        **dict.fromkeys(("rank_zero_only", "sync_dist_group"), _ONE_PROCESS),
        "enable_graph": "logged values keep no graph: leave it out",
        "metric_attribute": "pass the metric itself as the value: leave it out",
    },
    "ModelCheckpoint": {
        "dirpath": "they are in <run>/checkpoints, and Trainer(default_root_dir=..., name=...) sets the run's folder",
        "verbose": "trainer.checkpoint_callback.best_model_path names the best one: leave it out",
        "auto_insert_metric_name": "names are always inserted, '{epoch}' becomes 'epoch=7': leave it out",
        "save_on_train_epoch_end": "checkpoints are written after validations and when an epoch ends: leave it out",
        "enable_version_counter": "a name that is taken always gets '-v1': leave it out",
    },
    "EarlyStopping": {"log_rank_zero_only": _ONE_PROCESS},
    "Timer": {"verbose": "the end is always reported: leave it out"},
    "LearningRateMonitor": dict.fromkeys(("log_momentum", "log_weight_decay"), _RATES),
    "WeightAveraging": {
        "device": "the average is kept beside the weights: leave it out",
        "use_buffers": "all weights of layers are averaged: leave it out",
        # of StochasticWeightAveraging
        **dict.fromkeys(
            ("swa_lrs", "annealing_epochs", "annealing_strategy"),
            "the rate is that of the optimizer and its schedule: leave it out",
        ),
        "swa_epoch_start": "write update_starting_at_epoch",
        "avg_fn": "write decay, or decay=None for the mean",
    },
    "ThroughputMonitor": {
        **dict.fromkeys(("batch_size_fn", "length_fn"), _ROWS),
        "window_size": "an epoch is measured as a whole: leave it out",
    },
    "SpikeDetection": {"exclude_batches_path": "training stops, or goes back with max_rollbacks=1: leave it out"},
    "BackboneFinetuning": {
        "initial_denom_lr": "write backbone_initial_ratio_lr",
        "rounding": "rates are logged in full: leave it out",
    },
    "Logger": {
        "version": _NUMBERED,
        "prefix": _PREFIX,
        "flush_logs_every_n_steps": "rows are written every Trainer(log_every_n_steps=...)",
    },
    **{
        f"{logger}.log_image": dict.fromkeys(
            ("key", "images", "caption"), "write log_image(name, image, step) for each picture"
        )
        for logger in ("Logger", "TensorBoardLogger", "WandbLogger", "MLFlowLogger")
    },
    **{
        f"{logger}.log_hyperparams": {"metrics": "write logger.log_metrics(metrics, step), or self.log in the module"}
        for logger in ("Logger", "TensorBoardLogger", "WandbLogger", "MLFlowLogger", "InMemoryLogger")
    },
    "TensorBoardLogger": {
        "version": _NUMBERED,
        "sub_dir": "write it into the name, name='kfold/fold_0'",
        "prefix": _PREFIX,
        "log_graph": "GenreClassifier's graph is always written; in a hook, call logger.log_graph(self.model)",
        "default_hp_metric": "the tab HParams has the final metrics: leave it out",
    },
    "WandbLogger": {
        **dict.fromkeys(("version", "id"), _FOUND_AGAIN),
        "dir": "write save_dir",
        "experiment": "a run that wandb.init has started is used: leave it out",
        "log_model": "save files in a hook, logger.experiment.save(path)",
        "prefix": _PREFIX,
    },
    "MLFlowLogger": {
        "run_id": _FOUND_AGAIN,
        "log_model": "save files in a hook, logger.experiment.log_artifact(logger.run_id, path)",
        "prefix": _PREFIX,
        "artifact_location": "create the experiment with mlflow.create_experiment, and pass its name",
        "synchronous": "leave it out",
    },
}

# What the last choice of an argument means, where Lightning has others.
MEANINGS = {
    "Trainer.accelerator": "CUDA, or MPS under torch",
    "Trainer.strategy": "several devices in one process, JAX only; devices=2, say",
}


class ArgumentError(ShortTraceback, TypeError, ValueError):
    """An argument does not exist, or takes another type or choice; the message says what to write instead."""


def meaning_of(argument: str) -> str:
    """Return what the last choice of an argument such as "Trainer.strategy" means, in brackets, or nothing."""
    return f" ({MEANINGS[argument]})" if argument in MEANINGS else ""


def explain_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a public function: for an argument that it lacks, or of a wrong type, the error says what to write.

    For a name that Lightning does not have either, it names the most similar argument; if there is none, Python's own
    error is raised. Types are compared as in `wrong_argument`.

    Raises:
        ArgumentError: (when the function is called) an argument does not exist, or is none of what it takes.

    Example:
        >>> class Timer:
        ...     @explain_arguments
        ...     def __init__(self, duration=None):
        ...         pass
        >>> Timer(verbose=True)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        kgenre.lightning_arguments.ArgumentError: Timer has no argument 'verbose': the end is always reported: ...
        >>> Timer(durations=1)
        Traceback (most recent call last):
        kgenre.lightning_arguments.ArgumentError: Timer has no argument 'durations'. Did you mean 'duration'?
        >>> kgenre.Trainer(max_epochs="3")
        Traceback (most recent call last):
        kgenre.lightning_arguments.ArgumentError: Trainer(max_epochs=...) takes a whole number or None. Received: '3'
    """
    parameters = inspect.signature(function).parameters
    called = _called(function)
    replacements = REPLACEMENTS.get(called, {})

    @functools.wraps(function)
    def explained(*args: P.args, **kwargs: P.kwargs) -> R:
        # Lightning's further arguments may be given without their names: they are listed in its order.
        for name in chain(islice(replacements, max(len(args) - len(parameters), 0)), kwargs):
            if name in parameters:
                continue
            if name in replacements:
                raise ArgumentError(f"{called} has no argument {name!r}: {replacements[name]}.")
            if similar := get_close_matches(name, parameters, 1):
                raise ArgumentError(f"{called} has no argument {name!r}. Did you mean {similar[0]!r}?")
        for name, value in [*zip(parameters, args, strict=False), *kwargs.items()]:
            # The user may have named a class that has its arguments from a base.
            check_argument(function, name, value, args[0] if function.__name__ == "__init__" else None)
        return function(*args, **kwargs)

    return explained


def check_argument(function: Callable[..., Any], name: str, value: Any, created: Any = None) -> None:
    """Check the type of one argument of a public function.

    Args:
        function: the function, or the ``__init__`` of a class.
        name: the argument.
        value: what was given.
        created: the object whose ``__init__`` it is.

    Raises:
        ArgumentError: it is none of what the argument takes, see `wrong_argument`.

    Example:
        >>> check_argument(kgenre.Trainer.__init__, "max_epochs", 3)
    """
    if takes := wrong_argument(function, name, value):
        called = _called(function)
        what = called if created is None else type(created).__name__
        raise ArgumentError(f"{what}({name}=...) takes {takes}{meaning_of(f'{called}.{name}')}. Received: {value!r}")


def _called(function: Callable[..., Any]) -> str:
    return function.__qualname__.removesuffix(".__init__").split("<locals>.")[-1]
