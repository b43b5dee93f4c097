"""Configuration files and ``--model.x``, ``--data.x``, ``--trainer.x``: LightningCLI's conventions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

# A config names classes to import: only these may be named, or a config from a stranger could run anything.
_ALLOWED = ("kgenre", "keras")
ALLOW_VARIABLE = "KGENRE_ALLOW_IMPORT"


def make_parser(command: str, description: str) -> ArgumentParser:
    """A parser with ``--config``, ``--seed_everything``, ``--model``, ``--data`` and ``--trainer``.

    Names of classes are resolved and arguments checked without importing a backend.
    """
    from kgenre.data import FilmData
    from kgenre.models import GenreClassifier
    from kgenre.training import DataModule, Module, Trainer

    more = [name.strip() for name in os.environ.get(ALLOW_VARIABLE, "").split(",") if name.strip()]
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=[*_ALLOWED, *more])
    parser = ArgumentParser(
        prog=f"kgenre {command}", description=description, default_env=True, env_prefix="KGENRE", exit_on_error=True
    )
    parser.add_argument("--config", action="config", help="a YAML file with any of these options; may be repeated")
    parser.add_argument("--seed_everything", type=int, default=0, help="seed of initial weights and dropout")
    parser.add_subclass_arguments(Module, "model", help="the module to train", required=False)
    parser.add_subclass_arguments(DataModule, "data", help="where batches come from", required=False)
    parser.add_class_arguments(Trainer, "trainer", help="flags of the Trainer")
    parser.set_defaults(model={"class_path": _path(GenreClassifier)}, data={"class_path": _path(FilmData)})
    return parser


def parse(parser: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    """The parsed options; a wrong one ends the program with a line that names it and exit code 2."""
    return parser.parse_args(list(arguments))


def start(options: Namespace) -> None:
    """Import the backend, its chatter left out, and seed everything."""
    from kgenre.cli.quiet_backend import import_backend

    import_backend()
    from kgenre.training import seed_everything

    seed_everything(options.seed_everything)


def instantiate(parser: ArgumentParser, options: Namespace) -> tuple[Any, Any, Any]:
    """The trainer, the module and the datamodule of the options."""
    made = parser.instantiate_classes(options)
    return made.trainer, made.model, made.data


def save_config(parser: ArgumentParser, options: Namespace, run_dir: Path) -> None:
    """Write ``config.yaml``, complete: every option with its value, so that it repeats the run."""
    parser.save(options, str(run_dir / "config.yaml"), overwrite=True, skip_validation=True, multifile=False)


def run_of_config(options: Namespace) -> Path | None:
    """The run whose own ``config.yaml`` was given with ``--config``, if any: "best" and "last" then mean its."""
    for config in reversed(options.get("config") or []):
        folder = Path(str(config)).resolve().parent
        if (folder / "checkpoints").is_dir():
            return folder
    return None


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
