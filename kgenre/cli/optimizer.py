"""``--optimizer`` and ``--lr_scheduler``: Keras's classes by name, instantiated once Keras is imported."""

from __future__ import annotations

import functools
import importlib
import inspect
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kgenre.allowed_imports import not_allowed_message
from kgenre.cli.arguments import typed_value
from kgenre.cli.explain import suggestion
from kgenre.cli.parser import allowed_imports
from kgenre.cli.usage import UsageError

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from kgenre.cli.parser import Parser

_log = logging.getLogger("kgenre")
# Where its classes are, and the name of their base class there.
_HOMES = {
    "optimizer": ("keras.optimizers", "Optimizer"),
    "lr_scheduler": ("keras.optimizers.schedules", "LearningRateSchedule"),
}


def add_optimizer_arguments(parser: Parser) -> None:
    """Add both options; they are checked later, as Keras takes seconds to import."""
    for part, (home, _) in _HOMES.items():
        what = "that replaces the module's optimizer" if part == "optimizer" else "for its learning rate"
        group = parser.add_argument_group(f"{part}: a class of {home} {what}")
        group.add_argument(
            f"--{part}.class_path",
            type=str | None,
            default=None,
            help=f"its name; short: --{part} NAME --{part}.ARGUMENT VALUE; its arguments: --{part}.help=NAME",
        )
        group.add_argument(f"--{part}.init_args", type=dict[str, Any], default={}, help="its arguments")


def print_optimizer_help(words: Sequence[str]) -> bool:
    """Print the arguments of the class after ``--optimizer.help``; return False if no such option is given."""
    for part in _HOMES:
        option = f"--{part}.help"
        if any(word.partition("=")[0] == option for word in words):
            from kgenre.cli.quiet_backend import import_backend

            import_backend(data=False, extras=False)
            cls = _find(part, typed_value(option, words) or "")
            print(f"{cls.__name__}{inspect.signature(cls)}\n\n{inspect.cleandoc(cls.__doc__ or '')}")
            return True
    return False


def use_optimizer(module: Any, options: Namespace) -> None:
    """Make ``module.configure_optimizers`` return what the options name: the optimizer, its schedule, or both."""
    given = {}  # what makes each of the two
    for part in _HOMES:
        described = options[part]
        if described.class_path is not None:
            given[part] = functools.partial(_make, part, described)
            given[part]()  # reports wrong arguments before any data are read
        elif described.init_args:
            name = next(iter(described.init_args))
            also = f" The module's own is --model.{name}." if name in (options.model.get("init_args") or {}) else ""
            raise UsageError(f"--{part}.{name} needs a class: --{part} NAME.{also}")
    own = given.get("optimizer", module.configure_optimizers)

    def configured() -> Any:
        if "optimizer" in given:
            lost = "learning rate, schedule and weight decay"
            _log.warning("--optimizer %s replaces the module's optimizer, %s.", options.optimizer.class_path, lost)
        made = own()
        if "lr_scheduler" in given:
            if not hasattr(made, "learning_rate"):
                raise UsageError("--lr_scheduler needs a single optimizer: set --optimizer, too.")
            made.learning_rate = given["lr_scheduler"]()
        return made

    if given:
        module.configure_optimizers = configured


def _make(part: str, described: Namespace) -> Any:
    cls = _find(part, described.class_path)
    arguments: Mapping[str, Any] = described.init_args
    try:
        return cls(**arguments)
    except (TypeError, ValueError) as error:
        taken = [name for name in inspect.signature(cls).parameters if name not in ("args", "kwargs")]
        raise UsageError(f"--{part} {described.class_path}: {error} It takes: {', '.join(taken)}.") from None


def _find(part: str, name: str) -> Any:
    """Find a class by its name, short or with its package."""
    home, _, last = name.rpartition(".")
    if home and not any(name.startswith(f"{package}.") for package in allowed_imports()):
        raise UsageError(not_allowed_message(name))
    own_home, base_name = _HOMES[part]
    its_home = importlib.import_module(own_home)
    base = getattr(its_home, base_name)
    cls = getattr(importlib.import_module(home or own_home), last, None)
    if not (inspect.isclass(cls) and issubclass(cls, base)):
        known = sorted(n for n, c in vars(its_home).items() if inspect.isclass(c) and issubclass(c, base))
        wrong = f"--{part} {name}: there is no such class." if name else f"--{part}.help needs the name of a class."
        raise UsageError(f"{wrong} {suggestion(last, known)}")
    return cls
