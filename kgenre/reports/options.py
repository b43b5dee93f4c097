"""The options that a run was trained with, and those in which runs differ."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kgenre.reports.run import Run

# Options not to list: paths, logging and output, and those that the training table shows.
_OMITTED: tuple[str, ...] = (
    "data.path",
    "data.format",
    "ckpt_path",
    "test",
    "trainer.default_root_dir",
    "trainer.name",
)
_OMITTED += ("model.learning_rate", "data.batch_size", "trainer.max_epochs", "data.posters", "data.overviews")
_OMITTED += tuple(f"trainer.{name}" for name in ("callbacks", "logger", "profiler", "barebones", "log_every_n_steps"))
_OMITTED += ("trainer.enable_progress_bar", "trainer.enable_model_summary")
_MAX_LISTED = 6  # options to list per run
_GROUP = re.compile(r"^(model|trainer|data)\.")


def differing_options(configs: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    """Return each run's values of the options in which the runs differ; {} if they do not differ.

    Args:
        configs: run name -> the contents of its ``config.yaml``.

    Example:
        >>> losses = {"a": "focal", "b": "asymmetric"}
        >>> differing_options({run: {"model": {"init_args": {"loss": loss}}} for run, loss in losses.items()})
        {'a': 'loss focal', 'b': 'loss asymmetric'}
    """
    every = {name: _options(config) for name, config in configs.items()}
    if not all("trainer" in config for config in configs.values()):  # of a run started from Python, no more is known
        every = {
            name: {key: value for key, value in options.items() if key.startswith(("model.", "data."))}
            for name, options in every.items()
        }
    keys = dict.fromkeys(key for options in every.values() for key in options)
    differing = [key for key in keys if len({repr(options.get(key)) for options in every.values()}) > 1]
    described = {}
    for name, options in every.items():
        own = [f"{_GROUP.sub('', key)} {_shown(options[key])}" for key in differing if options.get(key) is not None]
        more = f" and {len(own) - _MAX_LISTED} more" if len(own) > _MAX_LISTED else ""
        described[name] = ", ".join(own[:_MAX_LISTED]) + more or "–"
    return described if differing else {}


def _shown(value: Any) -> Any:
    """Return the names of a fused run's networks, whose arguments would fill lines; any other value as it is."""
    if isinstance(value, list) and value and all(isinstance(each, dict) and "network" in each for each in value):
        return " + ".join(str(each["network"]) for each in value)
    return value


def special_loss(run: Run) -> str:
    """Return the training loss if it is not binary cross-entropy, else ""."""
    loss = run.arguments("model").get("loss")
    return "" if loss in (None, "binary_crossentropy") else str(loss)


def softened_targets(run: Run) -> dict[str, float]:
    """Return the options, with their values, by which the training targets are not the films' own genres."""
    given = {name: run.arguments("model").get(name) for name in ("label_smoothing", "mixup", "cutmix")}
    return {name: float(value) for name, value in given.items() if value and isinstance(value, int | float)}


def learning_rate(run: Run) -> tuple[str, Any]:
    """Return the option that sets a run's initial learning rate, and its value; None if Keras's default was used."""
    for part, name in (("lr_scheduler", "initial_learning_rate"), ("optimizer", "learning_rate")):
        given = run.config.get(part, {})
        if given.get("class_path"):  # it replaced the module's own
            return f"--{part}.{name}", (given.get("init_args") or {}).get(name)
    return "--model.learning_rate", run.arguments("model").get("learning_rate")


def rate_ran_out(run: Run) -> bool:
    """Whether the learning rate had decayed to 0 by the end, so that the losses flattened with it."""
    schedule = run.arguments("model").get("schedule")
    if schedule != "cosine" or learning_rate(run)[0] != "--model.learning_rate":
        return False
    trainer = run.config.get("trainer", {})  # {} if started from Python: assume that it reached the end
    ends = (trainer.get("max_epochs"), trainer.get("max_steps"))
    return not trainer or len(run.epochs) == ends[0] or run.epochs[-1]["step"] == ends[1]


def _options(config: dict[str, Any]) -> dict[str, Any]:
    options, data = _flat(config), config.get("data", {}).get("init_args") or {}
    if options.get("model.network") == "fused" or False in (data.get("posters"), data.get("overviews")):
        options.pop("data.incomplete", None)  # without effect where one input is read; `kgenre fuse` sets it
    return options


def _flat(options: dict[str, Any], around: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in options.items():
        key = around if name == "init_args" else f"{around}.{name}".lstrip(".")
        if key in _OMITTED:
            continue
        if isinstance(value, dict) and value:
            found |= _flat(value, key)
        elif value not in (None, {}):
            found[key.removesuffix(".class_path")] = (
                str(value).removeprefix("kgenre.") if name == "class_path" else value
            )
    return found
