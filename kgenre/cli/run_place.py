"""Where the options place an experiment's runs: ``<root>/<name>``."""

from __future__ import annotations

import os
from pathlib import Path

from jsonargparse import Namespace


def run_place(options: Namespace) -> tuple[Path, str | None]:
    """Return the root and the name of the experiment, as `Trainer.experiment_dir` has them; the name None if not given.

    The trainer cannot be asked before the backend is imported.
    """
    loggers = _arguments_of_loggers(options)
    root = next((of["save_dir"] for of in loggers if of.get("save_dir")), options.trainer.default_root_dir)
    name = next((of["name"] for of in loggers if of.get("name")), options.trainer.name)
    return Path(os.path.expanduser(root)), name


def move_runs(options: Namespace, experiment: Path) -> None:
    """Change the options so that runs are placed in the folder ``experiment``."""
    root, name = str(experiment.parent), experiment.name
    options.trainer.default_root_dir, options.trainer.name = root, name
    for of in _arguments_of_loggers(options):
        for argument, value in (("save_dir", root), ("name", name)):
            if of.get(argument):
                of[argument] = value


def _arguments_of_loggers(options: Namespace) -> list[Namespace]:
    given = options.trainer.logger
    loggers = given if isinstance(given, list) else [given]
    return [logger.init_args for logger in loggers if isinstance(logger, Namespace) and logger.get("init_args")]
