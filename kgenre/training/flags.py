"""The Trainer's flags: checked, completed with defaults, and resolved where they depend on each other."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from numbers import Integral, Real
from types import SimpleNamespace
from typing import Any

from kgenre.callbacks import Callback, ModelCheckpoint, ModelSummary, ProgressBar, ThroughputMonitor, Timer
from kgenre.callbacks.anomaly_detection import AnomalyDetection
from kgenre.callbacks.duration import read_duration
from kgenre.loggers import CSVLogger, Logger, TensorBoardLogger
from kgenre.profilers import PROFILERS, Profiler
from kgenre.training.accelerator import check_devices
from kgenre.training.errors import TrainerError
from kgenre.training.given_callbacks import as_list, check_callbacks
from kgenre.training.limits import check_limit
from kgenre.training.precision import check_precision

_log = logging.getLogger("kgenre")

# The flags that `barebones` turns off, each with the value that disables it.
_OFF: dict[str, Any] = {
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "logger": False,
    "log_every_n_steps": 0,
    "num_sanity_val_steps": 0,
    "fast_dev_run": False,
    "profiler": None,
    "detect_anomaly": False,
}
_DEFAULTS: dict[str, Any] = {
    "enable_checkpointing": True,
    "enable_progress_bar": True,
    "enable_model_summary": True,
    "logger": True,
    "log_every_n_steps": 50,
    "num_sanity_val_steps": 2,
    "min_epochs": 0,
    "min_steps": 0,
    "default_root_dir": "runs",  # None is accepted too: Lightning's default
}
# The smallest value of flags that are whole numbers, in some cases among others.
_LEAST = {
    "max_epochs": -1,
    "min_epochs": 0,
    "max_steps": -1,
    "min_steps": 0,
    "log_every_n_steps": 0,
    "val_check_interval": 1,
    "check_val_every_n_epoch": 1,
    "num_sanity_val_steps": -1,
    "accumulate_grad_batches": 1,
    "reload_dataloaders_every_n_epochs": 0,
    "steps_per_execution": 1,
}
# The numbers that mean no limit or never: the trainer has infinity instead, which no count reaches or divides.
NEVER = {"max_epochs": -1, "log_every_n_steps": 0}
# The flags that the trainer keeps under their names, and that may be changed between runs: see `check_flag`.
CHECKED = (*_LEAST, "precision", "jit_compile", "accelerator", "devices", "strategy", "deterministic")
# The flags that are read only when the trainer is created.
FIXED = (
    *("fast_dev_run", "overfit_batches", "barebones", "max_time", "detect_anomaly"),
    *("enable_checkpointing", "enable_progress_bar", "enable_model_summary"),
)


def read_flags(given: Mapping[str, Any]) -> SimpleNamespace:
    """Check the arguments of `Trainer`, and return them as the trainer uses them.

    Raises:
        TrainerError: an invalid value, or flags that contradict each other; the message names them.
    """
    f = SimpleNamespace(**given)
    if f.barebones:
        _apply_barebones(f)
    for name, default in _DEFAULTS.items():
        if getattr(f, name) is None:
            setattr(f, name, default)
    _check(f)
    f.fast_dev_run = int(f.fast_dev_run)
    check_callbacks("Trainer(callbacks=...)", as_list(f.callbacks))
    f.given_callbacks, f.loggers = as_list(f.callbacks), read_loggers(f.logger)
    if f.overfit_batches:
        f.limit_train_batches = f.limit_val_batches = f.overfit_batches
    if f.fast_dev_run:
        f.limit_train_batches = f.limit_val_batches = f.limit_test_batches = f.limit_predict_batches = f.fast_dev_run
        f.max_epochs, f.max_steps, f.min_epochs, f.min_steps = 1, -1, 0, 0
        f.num_sanity_val_steps, f.val_check_interval, f.check_val_every_n_epoch = 0, 1.0, 1
        f.loggers, f.enable_checkpointing = [], False
    f.limits = {
        stage: check_limit(f"limit_{stage}_batches", getattr(f, f"limit_{stage}_batches"))
        for stage in ("train", "val", "test", "predict")
    }
    f.default_callbacks = _default_callbacks(f)
    f.profiler = read_profiler(f.profiler)
    return f


def read_loggers(given: Logger | list[Logger] | bool | None) -> list[Logger]:
    """Return the loggers that the flag ``logger`` stands for.

    Raises:
        TrainerError: one is not a `Logger`.
    """
    if given is None or given is True:
        return [TensorBoardLogger(), CSVLogger()]
    loggers = [] if given is False else as_list(given)
    for logger in loggers:
        if not isinstance(logger, Logger):
            raise TrainerError(
                "Trainer(logger=...) takes True (TensorBoard and CSV), False, or loggers such as TensorBoardLogger(). "
                f"Received: {logger!r}"
            )
    return loggers


def read_profiler(given: Profiler | str | None) -> Profiler | None:
    """Return the profiler that the flag ``profiler`` stands for.

    Raises:
        TrainerError: it is none.
    """
    if isinstance(given, str) and given in PROFILERS:
        return PROFILERS[given]()
    if not (given is None or isinstance(given, Profiler)):
        raise TrainerError(
            f"profiler must be one of {', '.join(map(repr, PROFILERS))}, or a Profiler. Received: {given!r}"
        )
    return given


def _apply_barebones(flags: SimpleNamespace) -> None:
    for name, off in _OFF.items():
        value = getattr(flags, name)
        if value is not None and value != off:
            given = repr(value) if isinstance(value, bool | int | str) else "..."
            raise TrainerError(
                f"Trainer(barebones=True, {name}={given}): barebones turns off whatever costs time. Drop one of them."
            )
        setattr(flags, name, off)
    _log.info(
        "Trainer(barebones=True): no checkpoints, progress bar, summary, loggers, sanity check or profiler, and "
        "self.log does nothing."
    )


def check_flag(name: str, value: Any, flags: Any) -> Any:
    """Check the value of one flag, and return it as the trainer uses it.

    Args:
        name: one of ``CHECKED``.
        value: of a type that `Trainer` takes, or infinity, if the flag is in ``NEVER``.
        flags: the trainer or the arguments that it is created with: the default of ``max_epochs`` depends on another.

    Raises:
        TrainerError: an invalid value.
    """
    value = _DEFAULTS.get(name) if value is None else value
    if name == "precision":
        return check_precision(value)
    if name == "devices":
        check_devices(value)
    if name in ("accelerator", "devices", "strategy", "deterministic"):
        return value
    if name == "jit_compile":
        return value if value in (None, "auto") else bool(value)
    if name == "max_epochs" and value is None:
        return 1000 if flags.max_steps == -1 else math.inf
    if value in (None, "auto"):
        return value
    if name == "val_check_interval" and value > 0 and not isinstance(value, Integral):
        return check_limit(name, value)
    _at_least(name, value, _LEAST[name])
    return math.inf if value == NEVER.get(name) else value


def check_together(flags: Any) -> None:
    """Check flags that limit each other: those of a trainer, or the arguments that it is created with.

    Raises:
        TrainerError: they contradict each other.
    """
    f = flags
    if f.min_epochs > f.max_epochs or (f.max_steps != -1 and f.min_steps > f.max_steps):
        raise TrainerError(
            "min_epochs must not be above max_epochs, nor min_steps above max_steps. Received: "
            f"min_epochs={f.min_epochs}, max_epochs={f.max_epochs}, min_steps={f.min_steps}, max_steps={f.max_steps}"
        )
    if f.check_val_every_n_epoch is None and not isinstance(f.val_check_interval, Integral):
        raise TrainerError(
            "check_val_every_n_epoch=None counts training batches across epochs, so val_check_interval must be a "
            f"number of batches. Received: val_check_interval={f.val_check_interval}"
        )


def _check(f: SimpleNamespace) -> None:
    for name in CHECKED:
        setattr(f, name, check_flag(name, getattr(f, name), f))
    check_together(f)
    _at_least("fast_dev_run", f.fast_dev_run, 0)
    check_clip_val(f.gradient_clip_val)
    check_limit("overfit_batches", f.overfit_batches)
    has_checkpoint = any(isinstance(callback, ModelCheckpoint) for callback in as_list(f.callbacks))
    if has_checkpoint and not (f.enable_checkpointing or f.fast_dev_run):
        off = "barebones=True" if f.barebones else "enable_checkpointing=False"
        raise TrainerError(
            f"{off}, but callbacks contains a ModelCheckpoint. Drop one of them (the callbacks of a configuration "
            "file: --trainer.callbacks null)."
        )


def check_clip_val(clip: Any) -> None:
    """Check ``gradient_clip_val``.

    Raises:
        TrainerError: an invalid value.
    """
    if clip is not None and not (isinstance(clip, Real) and float(clip) > 0):
        raise TrainerError(f"gradient_clip_val must be above 0, or None. Received: {clip!r}")


def _default_callbacks(flags: SimpleNamespace) -> list[Callback]:
    """The callbacks that the flags request, except those of which the user gave one of the same class."""
    given = flags.given_callbacks
    wanted: tuple[tuple[bool, type[Callback]], ...] = (
        (flags.enable_progress_bar, ProgressBar),
        (flags.enable_model_summary, ModelSummary),
        (bool(flags.loggers), ThroughputMonitor),
        (flags.enable_checkpointing, ModelCheckpoint),
    )
    defaults = [kind() for on, kind in wanted if on and not any(isinstance(callback, kind) for callback in given)]
    if flags.detect_anomaly:
        defaults.append(AnomalyDetection())
    if flags.max_time is not None:
        try:
            duration = read_duration("max_time", flags.max_time)
        except ValueError as error:
            raise TrainerError(str(error)) from None
        if any(isinstance(callback, Timer) for callback in given):
            raise TrainerError(f"max_time={flags.max_time!r}, but callbacks contains a Timer. Drop one of them.")
        defaults.append(Timer(duration))
    return defaults


def _at_least(name: str, value: Any, least: int) -> None:
    if value < least:
        auto = "'auto' or " if name == "steps_per_execution" else ""
        raise TrainerError(f"{name} must be {auto}a whole number, at least {least}. Received: {value!r}")
