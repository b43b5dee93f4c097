"""The JSON of a benchmark: its options, what all have in common, writing it, and resuming an interrupted benchmark."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
        texts = (render(json.loads(path.read_text(encoding="utf-8"))).rstrip("\n") for path in options.render)
        print(select_rows("\n\n".join(texts), options.rows), end="\n" + end)
    return options.render is not None


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
    results: dict[str, Any] = json.loads(output.read_text())
    for name, value in identity.items():
        if name in results and results[name] != value:
            said = f"{output} has results with {name}={results[name]}, not {value}. Set another --output."
            print(said, file=sys.stderr)
            sys.exit(2)
    return results


def say(line: str) -> None:
    """Print to standard error: standard output is for the tables."""
    print(line, file=sys.stderr, flush=True)
