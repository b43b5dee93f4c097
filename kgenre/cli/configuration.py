"""Configuration files and ``--model.x``, ``--data.x``, ``--trainer.x``: LightningCLI's conventions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile, Namespace

from kgenre.checkpoints import find_checkpoint, read_state
from kgenre.cli.parser import Parser, allow_imports


def make_parser(command: str, description: str) -> Parser:
    """A parser with ``--config``, ``--seed_everything``, ``--model``, ``--data`` and ``--trainer``.

    Names of classes are resolved and arguments checked without importing a backend.
    """
    from kgenre.data import FilmData
    from kgenre.models import GenreClassifier
    from kgenre.training import DataModule, Module, Trainer

    allow_imports()
    parser = Parser(
        prog=f"kgenre {command}", description=description, allow_abbrev=False, env_prefix="KGENRE", default_env=True
    )
    parser.add_argument("--config", action=ActionConfigFile, help="a YAML file of these options; may be repeated")
    parser.add_argument("--seed_everything", type=int, default=0, help="seed of initial weights and dropout")
    parser.add_subclass_arguments(
        Module, "model", help="the module; its arguments: --model.x, listed by --model.help CLASS"
    )
    parser.add_subclass_arguments(
        DataModule, "data", help="the films; their arguments: --data.x, listed by --data.help CLASS"
    )
    parser.add_class_arguments(Trainer, "trainer", help="flags of the Trainer")
    parser.add_argument(
        "--ckpt_path", type=str | None, default=None, help="a checkpoint's or run's path, best, or last"
    )
    # Also where it means nothing: a run's config.yaml, written by fit, is read by every command.
    parser.add_argument("--test", type=bool, default=False, help="fit: test the best checkpoint when training is over")
    parser.set_defaults(model=_described(GenreClassifier), data=_described(FilmData))
    return parser


def parse(parser: Parser, arguments: Sequence[str]) -> Namespace:
    """The options: the command line wins over ``--config``, that over a checkpoint's hyperparameters, over defaults.

    A wrong option ends the program with a line that names it and exit code 2.
    """
    checkpoint = _given_checkpoint(arguments)
    if checkpoint is not None:
        state = read_state(find_checkpoint(checkpoint))
        parser.set_defaults(
            {
                part: {"class_path": state[part]["class_path"], "init_args": state[part]["hyperparameters"]}
                for part in ("model", "data")
                if part in state
            }
        )
    return parser.parse_args(list(arguments))


def start(options: Namespace) -> None:
    """Import the backend, its chatter left out, and seed everything."""
    from kgenre.cli.quiet_backend import import_backend

    import_backend()
    from kgenre.training import seed_everything

    seed_everything(options.seed_everything)


def instantiate(parser: Parser, options: Namespace) -> tuple[Any, Any, Any]:
    """The trainer, the module and the datamodule of the options."""
    try:
        made = parser.instantiate(options)
    except ValueError as error:
        # The parser wraps what a constructor says about its arguments in pages of its own.
        cause: BaseException | None = error
        while cause is not None and type(cause).__module__.partition(".")[0] != "kgenre":
            cause = cause.__cause__ or cause.__context__
        raise cause or error from error
    return made.trainer, made.model, made.data


def save_config(parser: Parser, options: Namespace, trainer: Any) -> None:
    """Write ``config.yaml`` into the run's folder, and its text to the loggers.

    It is complete, every option with its value, so that it repeats the run.
    """
    text = parser.dump(options, skip_unset=False, skip_validation=True)
    (trainer.run_dir / "config.yaml").write_text(text, encoding="utf-8")
    for logger in trainer.loggers:
        logger.log_text("config", f"```yaml\n{text}```", trainer.global_step)


def checkpoint_path(options: Namespace, default: str | None = None) -> str | Path | None:
    """``--ckpt_path``, where "best" and "last" with a run's own ``config.yaml`` mean that run's."""
    wanted = options.ckpt_path or default
    if wanted in ("best", "last"):
        for config in reversed(options.get("config") or []):
            folder = Path(str(config)).resolve().parent / "checkpoints"
            if folder.is_dir():
                return folder / wanted
    return wanted


def _given_checkpoint(arguments: Sequence[str]) -> str | None:
    """The path after ``--ckpt_path``; the words "best" and "last" need the configuration to be understood."""
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--ckpt_path":
            path = value if equals else next(iter(arguments[i + 1 :]), None)
            return None if path in (None, "best", "last", "null") else path
    return None


def _described(cls: type) -> dict[str, Any]:
    return {"class_path": f"{cls.__module__}.{cls.__qualname__}"}
