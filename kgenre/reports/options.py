"""What a run was trained with, as its options say, and in which of them runs differ."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kgenre.reports.run import Run

# Where things lie, what is only shown or kept, and what the table of the training has.
_ASIDE: tuple[str, ...] = ("data.path", "data.format", "ckpt_path", "test", "trainer.default_root_dir", "trainer.name")
_ASIDE += ("model.learning_rate", "data.batch_size", "trainer.max_epochs", "data.posters", "data.overviews")
_ASIDE += tuple(f"trainer.{name}" for name in ("callbacks", "logger", "profiler", "barebones", "log_every_n_steps"))
_MOST = 6  # options of a run to name
_GROUP = re.compile(r"^(model|trainer|data)\.")


def differing_options(configs: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    """The values of the options in which runs differ, as they are typed; {} where they are alike.

    Args:
        configs: name of a run to its ``config.yaml``.

    Example:
        >>> losses = {"a": "focal", "b": "asymmetric"}
        >>> differing_options({run: {"model": {"init_args": {"loss": loss}}} for run, loss in losses.items()})
        {'a': 'loss focal', 'b': 'loss asymmetric'}
    """
    every = {name: _flat(config) for name, config in configs.items()}
    keys = dict.fromkeys(key for options in every.values() for key in options)
    differing = [key for key in keys if len({repr(options.get(key)) for options in every.values()}) > 1]
    told = {}
    for name, options in every.items():
        own = [f"{_GROUP.sub('', key)} {options[key]}" for key in differing if options.get(key) is not None]
        more = f" and {len(own) - _MOST} more" if len(own) > _MOST else ""
        told[name] = ", ".join(own[:_MOST]) + more or "–"
    return told if differing else {}


def special_loss(run: Run) -> str:
    """The training loss where it is another one than binary cross-entropy, or ""."""
    loss = run.arguments("model").get("loss")
    return "" if loss in (None, "binary_crossentropy") else str(loss)


def learning_rate(run: Run) -> tuple[str, Any]:
    """The option for a run's first learning rate, and its value; None where it was left to Keras."""
    for part, name in (("lr_scheduler", "initial_learning_rate"), ("optimizer", "learning_rate")):
        given = run.config.get(part, {})
        if given.get("class_path"):  # it took the place of the module's
            return f"--{part}.{name}", (given.get("init_args") or {}).get(name)
    return "--model.learning_rate", run.arguments("model").get("learning_rate")


def rate_ran_out(run: Run) -> bool:
    """Whether the learning rate fell to 0 by the end, and the losses came to rest with it."""
    schedule = run.arguments("model").get("schedule")
    if schedule != "cosine" or learning_rate(run)[0] != "--model.learning_rate":
        return False
    trainer = run.config.get("trainer", {})  # of Python code nothing is known
    ends = (trainer.get("max_epochs"), trainer.get("max_steps"))
    return not trainer or len(run.epochs) == ends[0] or run.epochs[-1]["step"] == ends[1]


def _flat(options: dict[str, Any], around: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in options.items():
        key = around if name == "init_args" else f"{around}.{name}".lstrip(".")
        if key in _ASIDE:
            continue
        if isinstance(value, dict) and value:
            found |= _flat(value, key)
        elif value not in (None, {}):
            found[key.removesuffix(".class_path")] = (
                str(value).removeprefix("kgenre.") if name == "class_path" else value
            )
    return found
