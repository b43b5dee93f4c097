"""The options in which runs differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kgenre.reports.run import Run

# Where things lie, what is only shown or kept, and what the table of the training has.
_ASIDE: tuple[str, ...] = ("data.path", "data.format", "ckpt_path", "test", "trainer.default_root_dir", "trainer.name")
_ASIDE += ("model.learning_rate", "data.batch_size", "trainer.max_epochs", "data.posters", "data.overviews")
_ASIDE += tuple(f"trainer.{name}" for name in ("callbacks", "logger", "profiler", "barebones", "log_every_n_steps"))
_MOST = 6  # options of a run to name


def differing_options(runs: Sequence[Run]) -> dict[str, str]:
    """Each run's name to its values of the options in which they differ, as they are typed; {} where they are alike.

    Example:
        >>> differing_options(runs)
        {'a': 'network_args.dropout 0.3, loss binary_crossentropy', 'b': 'loss weighted_binary_crossentropy'}
    """
    every = [_flat(run.config) for run in runs]
    keys = dict.fromkeys(key for options in every for key in options)
    differing = [key for key in keys if len({repr(options.get(key)) for options in every}) > 1]
    told = {}
    for run, options in zip(runs, every, strict=True):
        own = [f"{_short(key)} {options[key]}" for key in differing if options.get(key) is not None]
        more = f" and {len(own) - _MOST} more" if len(own) > _MOST else ""
        told[run.name] = ", ".join(own[:_MOST]) + more or "–"
    return told if differing else {}


def special_loss(run: Run) -> str:
    """The training loss where it is another one than binary cross-entropy, or ""."""
    loss = run.config.get("model", {}).get("init_args", {}).get("loss")
    return "" if loss in (None, "binary_crossentropy") else str(loss)


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


def _short(key: str) -> str:
    """The name without the group that it is in; of the seed, the trainer and the data it stays as it is typed."""
    return key.removeprefix("model.").removeprefix("trainer.").removeprefix("data.")
