"""Configuration files and ``--model.x``, ``--data.x``, ``--trainer.x``: LightningCLI's conventions."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from jsonargparse import ActionConfigFile, Namespace

from kgenre.allowed_imports import ALLOW_VARIABLE, users_packages
from kgenre.checkpoints.files import whole_file
from kgenre.cli.arguments import order_arguments
from kgenre.cli.given_checkpoint import (
    checkpoint_at,
    configured_checkpoint,
    fill_from_checkpoint,
    typed_path,
    use_hyperparameters,
)
from kgenre.cli.optimizer import add_optimizer_arguments, print_optimizer_help, use_optimizer
from kgenre.cli.parser import Parser, allow_imports
from kgenre.cli.usage import UsageError
from kgenre.training.accelerator import choose_devices
from kgenre.training.seed import LARGEST_SEED

_log = logging.getLogger("kgenre")
_DEFAULT_SEED = 0
_DEFAULT_CLASSES = {"model": "kgenre.models.GenreClassifier", "data": "kgenre.data.FilmData"}

# Replaces the default usage, a page of all options in brackets that lacks even --data.path.
_USAGE = """%(prog)s [--config FILE] [--OPTION VALUE ...]

common options:
  --config configs/NAME.yaml   a network and its training settings
  --data.path FOLDER           your films; more data options: --data.help
  --model.network NAME         such as overview_lstm; more options: --model.help
  --trainer.max_epochs N       more trainer options: below
  --trainer.name NAME          the run is runs/NAME/version_0, version_1, ...
  --ckpt_path RUN              the folder of a run or checkpoint, best, or last"""


def make_parser(command: str, description: str) -> Parser:
    """Make a parser with ``--config``, ``--seed_everything``, ``--model``, ``--data``, ``--trainer``, ``--optimizer``.

    It resolves class names and checks arguments without importing a backend.
    """
    from kgenre.training import DataModule, Module, Trainer

    allow_imports()
    parser = Parser(
        prog=f"kgenre {command}",
        usage=_USAGE,
        description=description,
        allow_abbrev=False,
        env_prefix="KGENRE",
        default_env=True,
    )
    parser.add_argument(
        "--config", action=ActionConfigFile, help="a YAML file with these options; later ones override earlier ones"
    )
    parser.add_argument(
        "--seed_everything", type=int, default=_DEFAULT_SEED, help="the seed of initial weights and dropout"
    )
    parser.add_subclass_arguments(
        Module, "model", help="the module; its arguments: --model.x, listed by --model.help CLASS"
    )
    parser.add_subclass_arguments(
        DataModule, "data", help="the data; its arguments: --data.x, listed by --data.help CLASS"
    )
    parser.add_class_arguments(Trainer, "trainer", help="flags of the Trainer")
    add_optimizer_arguments(parser)
    parser.add_argument(
        "--ckpt_path",
        type=str | None,
        default=None,
        help="a checkpoint's folder; a run's (to fit its newest, else its best); best or last of the runs of this name",
    )
    # Not only for fit: the other commands accept it too, as they can be given the config.yaml that fit writes.
    parser.add_argument("--test", type=bool, default=False, help="fit: test the best checkpoint after training")
    _set_default_classes(parser, _DEFAULT_CLASSES)
    return parser


def _default_classes(parser: Parser) -> dict[str, str]:
    defaults = parser.get_defaults()
    return {part: defaults[part]["class_path"] for part in _DEFAULT_CLASSES}


def _set_default_classes(parser: Parser, paths: Mapping[str, str]) -> None:
    parser.set_defaults({part: {"class_path": path} for part, path in paths.items()})


def parse(parser: Parser, arguments: Sequence[str], to_fit: bool = True) -> Namespace:
    """Return the options, each from the source of highest precedence that sets it.

    Precedence: command line, later ``--config``, earlier ``--config``, environment (``KGENRE_TRAINER__MAX_EPOCHS``), a
    checkpoint's hyperparameters (``--ckpt_path``), defaults. What was just typed wins over what was written for this
    experiment, that over settings of this machine, and those over what another run happened to use.

    A wrong option ends the program with a line that names it and exit code 2.

    Args:
        parser: from `make_parser`.
        arguments: as typed.
        to_fit: for a fit; an evaluation uses ``best`` if no ``--ckpt_path`` is given.

    Raises:
        TrainerError: `GenreClassifier` has no such network, loss, optimizer or schedule.
    """
    needs_keras = os.environ.get(ALLOW_VARIABLE) or any("KerasCallback" in word for word in arguments)
    if needs_keras and not {"-h", "--help"} & set(arguments):
        # The user's file, or that callback's types, will import Keras: import it first, without its output and with our
        # check of KERAS_BACKEND.
        from kgenre.cli.quiet_backend import import_backend

        import_backend(data=False)
    checkpoint: Path | None = None
    if (typed := typed_path(arguments)) is not None:
        checkpoint = checkpoint_at(typed, to_fit)
        state = use_hyperparameters(parser, checkpoint)
    try:
        words = order_arguments(arguments, _default_classes(parser))
    except UsageError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    if print_optimizer_help(words):
        parser.exit(0)
    without_print = [word for word in words if not word.startswith("--print_config")]
    options = parser.parse_args(without_print)
    _check_sections(parser, options)
    if checkpoint is None and (found := configured_checkpoint(options, to_fit)) is not None:
        checkpoint, state = found, use_hyperparameters(parser, found)
        options = parser.parse_args(without_print)
    # A class that replaces the default one must not inherit the values of that default.
    known = _default_classes(parser)
    replaced = {part: options[part].class_path for part in known if options[part].class_path != known[part]}
    if replaced:
        _set_default_classes(parser, replaced)
        options = parser.parse_args(without_print)
    if checkpoint is not None:
        fill_from_checkpoint(options, state, words)
    _print_if_wanted(parser, options, words)
    _check_model(options.model)
    return options


def _check_sections(parser: Parser, options: Namespace) -> None:
    """Reject what the parser accepts, such as an empty ``trainer:`` section in a file."""
    for part in ("model", "data"):
        if options[part] is None:
            parser.error(f"--{part} takes a class. Received: null")
    for part, example in (
        ("trainer", "--trainer.max_epochs 3"),
        ("optimizer", "--optimizer SGD"),
        ("lr_scheduler", "--lr_scheduler CosineDecay"),
    ):
        if not isinstance(options[part], Namespace):
            given = "null" if options[part] is None else options[part]
            parser.error(f"--{part} takes options, such as {example}; omit it if there are none. Received: {given}")
    seed = options.seed_everything
    if seed is None or not 0 <= seed <= LARGEST_SEED:
        given = "null" if seed is None else seed
        parser.error(f"--seed_everything takes a whole number from 0 to {LARGEST_SEED}. Received: {given}")
    for name in ("default_root_dir", "name"):
        (options.trainer[name] or "").encode()  # the run's config.yaml could not hold a name that is not UTF-8


def _print_if_wanted(parser: Parser, options: Namespace, words: list[str]) -> None:
    """Handle ``--print_config`` and its flags here, as the parser would print before a checkpoint's values are known.

    ``skip_default`` compares with the built-in defaults, not with a checkpoint's values.
    """
    wanted = [word.partition("=")[2] for word in words if word.startswith("--print_config")]
    if not wanted:
        return
    known = {"skip_default": "skip_default", "skip_unset": "skip_unset", "skip_null": "skip_unset"}
    flags = [flag for flag in wanted[-1].split(",") if flag]
    if unknown := [flag for flag in flags if flag not in known]:
        parser.error(f"--print_config takes {', '.join(known)}. Received: {unknown[0]}")
    _set_default_classes(parser, _DEFAULT_CLASSES)
    print(dump(parser, options, **{known[flag]: True for flag in flags}), end="")
    parser.exit(0)


def _check_model(model: Namespace) -> None:
    """Report `GenreClassifier`'s wrong arguments at once: the backend takes seconds to import."""
    from kgenre.models.classifier_arguments import check_arguments

    home, _, name = model.class_path.rpartition(".")
    if name == "GenreClassifier" and home.startswith("kgenre.models") and model.get("init_args"):
        check_arguments(model.init_args.as_dict())


def instantiate(parser: Parser, options: Namespace) -> tuple[Any, Any, Any]:
    """Import the backend, seed everything, and create the trainer, module and datamodule of the options.

    kgenre's own need no backend, except for the module: their wrong arguments are reported before it is imported, which
    takes seconds. A constructor's error is raised unchanged.
    """
    if users_packages():  # their classes may need the backend and the seed
        _start(options)
        made = _create(parser, options)
    else:
        others = options.clone()
        module = Namespace(model=others.pop("model"))
        made = _create(parser, others)
        _start(options)
        made.model = _create(parser, module, instantiate_groups=False).model
    if options.optimizer.class_path is not None:
        # JAX can divide a CPU among devices only before its first array, which an optimizer has.
        choose_devices(made.trainer.accelerator, made.trainer.devices, made.trainer.strategy)
    use_optimizer(made.model, options)
    return made.trainer, made.model, made.data


def _start(options: Namespace) -> None:
    """Import the backend without its output, and seed everything."""
    if options.data.class_path == "kgenre.data.FilmData" and options.data.init_args.path is None:
        _log.warning("No --data.path: using generated sample films. For your own films: --data.path FOLDER")
    from kgenre.cli.quiet_backend import import_backend
    from kgenre.engines.native_output import without_native_output

    # Films are read with TensorFlow; a user's own data may not need it.
    import_backend(data=options.data.class_path.startswith("kgenre.data."))
    from kgenre.training import seed_everything

    with without_native_output():  # Keras seeds TensorFlow too, where it is installed
        seed_everything(options.seed_everything)


def _create(parser: Parser, options: Namespace, **choices: bool) -> Namespace:
    """Replace descriptions of classes by their instances."""
    refused: list[tuple[Exception, TracebackType | None]] = []

    def make(cls: type, *args: Any, **kwargs: Any) -> Any:
        try:
            return cls(*args, **kwargs)
        except Exception as error:  # the parser would bury it in pages of its own text
            trace = error.__traceback__
            refused.append((error, trace and trace.tb_next))
            raise

    try:
        return parser.instantiate(options, instantiators=[(make, object, True)], **choices)
    except Exception:
        if not refused:
            raise
        cause, trace = refused[0]
        raise cause.with_traceback(trace) from None


def dump(parser: Parser, options: Namespace, skip_unset: bool = False, skip_default: bool = False) -> str:
    """Return the options as YAML: unless told to skip some, all of them, so that the text alone reproduces a run."""
    return parser.dump(options, skip_unset=skip_unset, skip_default=skip_default, skip_validation=True)


def as_used(options: Namespace, trainer: Any) -> Namespace:
    """Return the options, with the values that the data took from a checkpoint instead of the given ones."""
    from kgenre.training.hyperparameters import is_plain

    options = options.clone()
    given, used = options.data.get("init_args") or {}, vars(trainer.datamodule.hparams)
    for name in list(vars(given)):
        if is_plain(used.get(name)):
            given[name] = used.get(name, given[name])
    return options


def save_config(parser: Parser, options: Namespace, trainer: Any) -> None:
    """Write ``config.yaml`` into the run's folder, and its text to the loggers.

    It lists every option, so that it reproduces the run from its start, also if this fit was resumed from a checkpoint
    in the same folder with the same options. After a resume with others, it has the options to continue the run with.
    """
    options = as_used(options, trainer)
    if trainer.resumed:
        options.seed_everything = _seed_of(trainer.run_dir, options.seed_everything)
    run, given = trainer.run_dir.resolve(), Path(options.ckpt_path or "").resolve()
    if options.ckpt_path in ("best", "last") or run in (given, *given.parents):
        options.ckpt_path = None
    text = dump(parser, options)
    with whole_file(trainer.run_dir / "config.yaml") as partial:
        partial.write_text(text, encoding="utf-8")
    for logger in trainer.loggers:
        logger.log_text("config", f"```yaml\n{text}```", trainer.global_step)


def _seed_of(run: Path, given: int) -> int:
    """Return the seed that a resumed run was started with: one that is given now has no effect."""
    import yaml

    try:
        seed = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["seed_everything"]
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError):
        return given  # the run was started in Python, or its config was removed
    if given not in (seed, _DEFAULT_SEED):
        _log.warning("The run keeps the seed that it was started with: seed_everything=%s (given: %s).", seed, given)
    return seed
