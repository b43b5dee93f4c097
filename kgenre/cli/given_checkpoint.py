"""``--ckpt_path``: finds its checkpoint, whose model and data then become the defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from kgenre.allowed_imports import missing_class_message
from kgenre.checkpoints import find_checkpoint, newest_checkpoint, read_state
from kgenre.cli.arguments import typed_value
from kgenre.cli.parser import Parser
from kgenre.cli.run_place import run_place
from kgenre.cli.usage import UsageError
from kgenre.training.ckpt_path import newest_pointer
from kgenre.training.run import snake_case


def checkpoint_path(wanted: str, options: Namespace, to_fit: bool = False) -> str | Path:
    """Resolve ``--ckpt_path``: with a run's own ``config.yaml``, "best" and "last" are that run's.

    To fit, "last" becomes the run's folder, which stands for its newest checkpoint that verifies.
    """
    if wanted in ("best", "last"):
        for config in reversed(options.get("config") or []):
            run = Path(str(config)).resolve().parent
            # A project may have a folder named checkpoints, too.
            if (run / "checkpoints").is_dir() and (run / "environment.json").is_file():
                return run if to_fit and wanted == "last" else run / "checkpoints" / wanted
    return wanted


def typed_path(arguments: Sequence[str]) -> str | None:
    """Return the path after ``--ckpt_path``; None for "best" and "last", which need the configuration."""
    path = typed_value("--ckpt_path", arguments)
    return None if path in ("best", "last", "null") else path


def checkpoint_at(path: str | Path, to_fit: bool) -> Path:
    """Return the checkpoint that the trainer will use for a path: for a run's folder its best, to fit its newest.

    Raises:
        CheckpointError: there is none.
    """
    run = Path(os.path.expanduser(path))  # pathlib's own raises an error for an unknown user
    newest = newest_checkpoint(run)[0] if to_fit and (run / "checkpoints").is_dir() else None
    return find_checkpoint(path) if newest is None or newest.path is None else newest.path


def configured_checkpoint(options: Namespace, to_fit: bool) -> Path | None:
    """Return the checkpoint that the trainer will use for "best", "last" or a path that was not typed, as in a config.

    None if there is none yet. The options are as parsed without the checkpoint.

    Raises:
        CheckpointError: the path, or what "best" points to, is no checkpoint.
    """
    if not (given := options.ckpt_path or ("" if to_fit else "best")):
        return None
    wanted: str | Path | None = checkpoint_path(given, options, to_fit)
    if wanted in ("best", "last"):
        root, name = run_place(options)
        experiment = root / (name or snake_case(options.model.class_path.rpartition(".")[2]))
        if wanted == "last" and to_fit:
            newest, _ = newest_checkpoint(experiment)
            return newest.path if newest is not None else None
        wanted = newest_pointer(experiment, str(wanted))
    return None if wanted is None else checkpoint_at(wanted, to_fit)


def use_hyperparameters(parser: Parser, checkpoint: Path) -> dict[str, Any]:
    """Make a checkpoint's model and data the parser's defaults, and return the checkpoint's state."""
    state = read_state(checkpoint)
    for part in ("model", "data"):
        if part in state:
            name = state[part]["class_path"]
            if name.startswith("__main__.") or "<locals>" in name:
                raise UsageError(missing_class_message(name))
            own = state[part].get("arguments", state[part]["hyperparameters"])  # missing in older checkpoints
            try:
                parser.set_defaults({part: {"class_path": name, "init_args": own}})
            except Exception as error:  # not allowed, not found, or its file has an error
                parser.error(f"Parser key \"{part}\": Problem with given class_path '{name}': {error}")
    return state


def fill_from_checkpoint(options: Namespace, state: Mapping[str, Any], words: Sequence[str]) -> None:
    """Fill in from the checkpoint's run what a configuration leaves open although it has the option.

    For example, ``path: null`` names no films, and ``network_args: {embedding_dim: 256}`` does not set dropout.
    """
    model, data = (state.get(part, {}).get("hyperparameters", {}) for part in ("model", "data"))
    given = options.model.get("init_args") or {}
    if given.get("network_args") and model.get("network_args"):
        if given.get("network") == model.get("network"):
            given["network_args"] = model["network_args"] | dict(given["network_args"])
        elif dict(given["network_args"]) == model["network_args"]:  # not given: another network's
            given["network_args"] = None
    given = options.data.get("init_args") or {}
    if typed_value("--data.path", words) is not None or "path" not in given:
        return
    if given["path"] is None:
        given["path"] = data.get("path")
    path = given["path"]
    if path and path == data.get("path") and not os.path.lexists(os.path.expanduser(path)):
        raise UsageError(f"The run's films, {path}, cannot be found from this folder. Set the path: --data.path FOLDER")
