"""The parser of every command: errors in a line or two, and only allowed classes are imported."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import yaml
from jsonargparse import ArgumentParser, set_dumper, set_parsing_settings

from kgenre.allowed_imports import users_packages

# A config names classes to import: only these may be named, or a config from a stranger could run anything.
_ALLOWED = ("kgenre", "keras")
_ever_allowed: set[str] = set()  # by this process: jsonargparse forgets none of them by itself


class Parser(ArgumentParser):
    """A parser whose errors are a line or two: what was given, and what to do about it.

    Example:
        >>> parser = Parser(prog="kgenre report", description="Two or three pages about runs.")
        >>> parser.add_argument("runs", nargs="+", help="folders of runs")
        >>> options = parser.parse_args(["runs/posters/version_0"])
    """

    def __init__(self, *args: Any, prog: str = "kgenre", **kwargs: Any) -> None:
        super().__init__(*args, prog=prog, **kwargs)  # of a class's help the parser makes one without a name

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Print what is wrong, then end with exit code 2."""
        if not self.exit_on_error:  # a parser inside another one, which has more to say
            return super().error(message, ex)
        from kgenre.cli.explain import explain

        return self.exit(2, f"{self.prog}: {explain(message, self)}\nOptions: {self.prog} --help\n")


class _Dumper(yaml.SafeDumper):
    """Quotes a text such as 1e3, which the parser reads as a number where PyYAML does not."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d[\d_.]*[eE][-+]?\d+$"), None)
set_dumper("yaml", partial(yaml.dump, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False))


def allowed_imports() -> tuple[str, ...]:
    """The packages whose classes options and configs may name: kgenre, Keras, those in ``KGENRE_ALLOW_IMPORT``."""
    return (*_ALLOWED, *users_packages())


def allow_imports() -> None:
    """Let options and configs name classes of `allowed_imports`."""
    allowed = allowed_imports()
    denied = ["*", *sorted(_ever_allowed.difference(allowed))]
    set_parsing_settings(import_path_denylist=denied, import_path_allowlist=list(allowed))
    _ever_allowed.update(allowed)
