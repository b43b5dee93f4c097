"""The parser of every command: errors in a line or two, and only allowed classes are imported."""

from __future__ import annotations

import os
from typing import Any

from jsonargparse import ArgumentParser, set_parsing_settings

# A config names classes to import: only these may be named, or a config from a stranger could run anything.
_ALLOWED = ("kgenre", "keras")
ALLOW_VARIABLE = "KGENRE_ALLOW_IMPORT"
# What the parser adds for each alternative that a type has.
_NOISE = (
    "Does not validate",
    "Subtypes:",
    "Errors:",
    "Expected a <class 'NoneType'>",
    "Given value type:",
    "Given value: Namespace",
    "Given value: NestedArg",
)


class Parser(ArgumentParser):
    """A parser whose errors are a line or two: what was given, and what to do about it.

    Example:
        >>> parser = Parser(prog="kgenre report", description="Two or three pages about runs.")
        >>> parser.add_argument("runs", nargs="+", help="folders of runs")
        >>> options = parser.parse_args(["runs/posters/version_0"])
    """

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Print the lines that say something, then end with exit code 2."""
        if not self.exit_on_error:  # a parser inside another one, which has more to say
            return super().error(message, ex)
        lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
        told = [line for line in lines if line and not line.startswith(_NOISE)]
        denied = [line for line in told if "import path denylist" in line]
        if denied:
            name = denied[0].split("'")[1]
            told = [f"{name} may not be imported. If it is yours: {ALLOW_VARIABLE}={name.split('.')[0]}"]
        return self.exit(2, f"{self.prog}: {' '.join(dict.fromkeys(told))}\nOptions: {self.prog} --help\n")


def allow_imports() -> None:
    """Let options and configs name classes of kgenre, Keras and what ``KGENRE_ALLOW_IMPORT`` lists; nothing else."""
    more = [name.strip() for name in os.environ.get(ALLOW_VARIABLE, "").split(",") if name.strip()]
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=[*_ALLOWED, *more])
