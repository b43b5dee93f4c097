"""Read the results of an earlier run of a benchmark: to resume it, or to print its tables again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn


def earlier_results(output: Path | None, identity: dict[str, Any]) -> dict[str, Any]:
    """Return what ``output`` contains, {} if it does not exist; exit with 2 if it was measured under other conditions.

    Args:
        output: a JSON file of the same benchmark.
        identity: the entries that apply to all its rows, such as the device: new rows must not be mixed with others.

    Example:
        >>> earlier_results(Path("absent.json"), {"device": "cpu"})
        {}
    """
    if output is None or not output.exists():
        return {}
    results = read_results(output)
    for name, value in identity.items():
        if name in results and results[name] != value:
            _refuse(f"{output} has results with {name}={results[name]}, not {value}. Set another --output.")
    return results


def read_results(file: Path) -> dict[str, Any]:
    """Return the results in a JSON file; exit with 2 if it is missing or damaged."""
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        _refuse(f"{file} cannot be read ({error.strerror}): give a file that --output has written.")
    except ValueError as error:
        _refuse(f"{file} is damaged ({error}): give a file that --output has written.")
    if not isinstance(results, dict):
        _refuse(f"{file} holds a {type(results).__name__}: give a file that --output has written.")
    return results


@contextmanager
def rendering(*files: Path) -> Iterator[list[dict[str, Any]]]:
    """The context of printing the tables of results in files, which it reads; exit with 2 if that is not possible.

    Example:
        >>> with rendering(Path("results.json")) as [results]:
        ...     print(render(results))
    """
    results = [read_results(file) for file in files]
    try:
        yield results
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        _refuse(f"{', '.join(map(str, files))}: no results of this benchmark ({type(error).__name__}: {error}).")


def _refuse(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(2)
