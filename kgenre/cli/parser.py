"""The parser of every command: it reports errors in a line or two, and imports only allowed classes."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import yaml
from jsonargparse import ArgumentParser, set_dumper, set_parsing_settings

from kgenre.allowed_imports import users_packages

# Configs name classes to import: only those of these packages are allowed, or a stranger's config could run anything.
_ALLOWED = ("kgenre", "keras")
_ever_allowed: set[str] = set()  # in this process: jsonargparse only adds to its allowlist


class Parser(ArgumentParser):
    """A parser whose errors are a line or two: what was given, and what to do about it.

    Example:
        >>> parser = Parser(prog="kgenre report", description="Two or three pages about runs.")
        >>> parser.add_argument("runs", nargs="+", help="folders of runs")
        >>> options = parser.parse_args(["runs/posters/version_0"])
    """

    def __init__(self, *args: Any, prog: str = "kgenre", **kwargs: Any) -> None:
        super().__init__(*args, prog=prog, **kwargs)  # jsonargparse creates one without a name for a class's help

    def parse_args(self, args: Any = None, *rest: Any, **named: Any) -> Any:
        """Parse; in a class's arguments, as in ``--network_args.dropout=null``, jsonargparse passes null on as None."""
        if not self.exit_on_error and args:  # nested in another parser
            args = [re.sub(r"^(--\w+\.[\w.]+)=None$", r"\1=null", word) for word in args]
        return super().parse_args(args, *rest, **named)

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Print what is wrong, then exit with code 2."""
        if not self.exit_on_error:  # nested in another parser, which knows more
            return super().error(message, ex)
        from kgenre.cli.explain import explain

        return self.exit(2, f"{self.prog}: {explain(message, self)}\nOptions: {self.prog} --help\n")


class _Dumper(yaml.SafeDumper):
    """Quotes strings such as 1e3, which the parser, unlike PyYAML, reads as numbers."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d[\d_.]*[eE][-+]?\d+$"), None)
set_dumper("yaml", partial(yaml.dump, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False))


def allowed_imports() -> tuple[str, ...]:
    """Return the packages whose classes options and configs may name: kgenre, Keras and ``KGENRE_ALLOW_IMPORT``."""
    return (*_ALLOWED, *users_packages())


def allow_imports() -> None:
    """Let options and configs name classes of `allowed_imports`."""
    allowed = allowed_imports()
    denied = ["*", *sorted(_ever_allowed.difference(allowed))]
    set_parsing_settings(import_path_denylist=denied, import_path_allowlist=list(allowed))
    _ever_allowed.update(allowed)
