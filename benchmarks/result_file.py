"""The JSON of a benchmark: its options, what all have in common, writing it, and resuming an interrupted benchmark."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from machine import cpu_name, git_commit
from markdown_table import select_rows


def parser_for(docstring: str, resumes: bool = True) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks have; ``--help`` shows the script's docstring.

    Args:
        docstring: what the benchmark measures.
        resumes: whether results are added to those that the file already has.
    """
    parser = argparse.ArgumentParser(description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter)
    written = "written after every part; a later run adds what is missing" if resumes else "write the results here"
    parser.add_argument("--output", type=Path, metavar="JSON", help=written)
    parser.add_argument("--render", type=Path, nargs="+", metavar="JSON", help="only print the tables of earlier runs")
    parser.add_argument("--rows", metavar="REGEX", help="with --render: only rows in which this is found")
    return parser


def print_rendered(options: argparse.Namespace, render: Callable[[dict[str, Any]], str], end: str = "") -> bool:
    """Print the tables of ``--render``; return whether it was given."""
    if options.render:
        with rendering(options.render) as results:
            texts = (render(each).rstrip("\n") for each in results)
            print(select_rows("\n\n".join(texts), options.rows), end="\n" + end)
    return options.render is not None


@contextmanager
def rendering(files: Sequence[Path]) -> Iterator[list[dict[str, Any]]]:
    """Read the results in these files and give them to the block; exit with 2 where either fails."""
    results = list(map(_read, files))
    try:
        yield results
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        _refuse(f"{', '.join(map(str, files))}: no results of this benchmark ({type(error).__name__}: {error}).")


def _read(file: Path) -> dict[str, Any]:
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        _refuse(f"{file} cannot be read ({error.strerror}): give a file that --output has written.")
    except ValueError as error:
        _refuse(f"{file} is damaged ({error}): give a file that --output has written.")
    if not isinstance(results, dict):
        _refuse(f"{file} holds a {type(results).__name__}: give a file that --output has written.")
    return results


def _refuse(message: str) -> NoReturn:
    say(message)
    sys.exit(2)


def about(benchmark: str) -> dict[str, Any]:
    """Return what, when, of which code and on which machine is measured; call it before the measurement."""
    now = {"benchmark": benchmark, "date": datetime.date.today().isoformat(), "git_commit": git_commit()}
    return now | {"cpu": cpu_name(), "cores": os.cpu_count()}


def origin(results: dict[str, Any], where: str) -> str:
    """Return the beginning of the line above the tables, from what `about` returned."""
    return f"{where}; {results['date']}, commit {(results['git_commit'] or 'unknown')[:12]}"


def listed(versions: dict[str, str]) -> str:
    """Return packages with their versions, for the line above the tables."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def write(output: Path | None, results: dict[str, Any]) -> None:
    """Write the JSON, if there is an ``--output``; its folder is created."""
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


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
    results = _read(output)
    for name, value in identity.items():
        if name in results and results[name] != value:
            _refuse(f"{output} has results with {name}={results[name]}, not {value}. Set another --output.")
    return results


def say(line: str) -> None:
    """Print to standard error: standard output is for the tables."""
    print(line, file=sys.stderr, flush=True)
