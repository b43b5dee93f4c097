"""What does a checkpoint cost? A save, beside Keras's and Lightning's; saving while training; resuming.

    python benchmarks/checkpointing.py --quick                                                        # two minutes
    python benchmarks/checkpointing.py --lightning-python torch-env/bin/python --output checkpointing.json  # an hour
    python benchmarks/checkpointing.py --render checkpointing.json

The model is the course's LSTM with Adam (4.3 million parameters, 52 MB).

save    one save, beside a plain write and fsync of the same bytes, Keras's ModelCheckpoint and BackupAndRestore, and
        Lightning's ModelCheckpoint, in turn. kgenre hashes its files and waits until they are on the disk (fsync of
        each and of the folder); Keras and Lightning do neither, so a power cut may lose what they wrote. The checkpoint
        that a save replaces is removed in the background, outside the measured time; the plain write truncates its old
        file inside it.
train   50 steps after one save: in the background (async), in the foreground (sync), none.
start   from the call of ``fit`` to the end of its first step: a new run, and one resumed from a checkpoint.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from machine import environment_for
from markdown_table import table_row, with_interval, with_quartiles
from processes import Contestant
from ratio import ratio_with_interval
from result_file import about, listed, origin, parser_for, print_rendered, say, write

MEASURES = ("save", "train", "start")
TARGETS = {"kgenre / write + fsync": 1.5, "async / none": 1.02, "resumed / fresh": 1.2}
BASES = {"save": "write + fsync", "train": "none", "start": "fresh"}


@contextmanager
def contestant(options: argparse.Namespace, backend: str, folder: Path, **work: Any) -> Iterator[Contestant]:
    """Start a process of `checkpointing_contestants.py` with the settings in ``work``; end it with the block."""
    python = options.lightning_python if work.get("lightning") else sys.executable
    sizes = {name: getattr(options, name) for name in ("batch_size", "length", "steps", "rounds")}
    work = sizes | {"folder": str(folder)} | work
    environment, label = environment_for(backend, options.device), f"{work['measure']} on {backend}"
    process = Contestant(label, "checkpointing_contestants.py", work, folder, environment, python)
    try:
        yield process
    finally:
        process.end()


# --- measuring: returns {contestant: {"seconds": one value per round, ...}} and versions of packages -----------------


def measure_save(options: argparse.Namespace, backend: str, folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Save in every way in turn, round after round."""
    found: dict[str, Any] = {}
    of_ways, versions = {}, {}
    with ExitStack() as running:
        places = [(backend, "keras", False), *([("torch", "lightning", True)] if options.lightning_python else [])]
        starting = [
            running.enter_context(contestant(options, each, folder / place, measure="save", lightning=lightning))
            for each, place, lightning in places
        ]
        for process in starting:
            ready = process.answer()
            versions |= ready["versions"]
            of_ways |= dict.fromkeys(ready["ways"], process)
        for done in range(-1, options.rounds):  # the first round warms up
            for way, process in of_ways.items():
                once = process.go(way)
                if done >= 0:
                    found.setdefault(way, {"seconds": []})["seconds"].append(once["seconds"])
                    found[way]["bytes"] = once["bytes"]
    return found, versions


def measure_train(options: argparse.Namespace, backend: str, folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Time epochs in turn: without a save, with a save in the background, and with a save in the foreground."""
    with contestant(options, backend, folder, measure="train") as process:
        found = process.answer()
    return {arm: {"seconds": found[arm]} for arm in ("none", "async", "sync")}, found["versions"]


def measure_start(options: argparse.Namespace, backend: str, folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Time the start of fresh processes in turn: of a new run and of a resumed one."""
    found: dict[str, Any] = {"fresh": {"seconds": []}, "resumed": {"seconds": []}}
    versions: dict[str, str] = {}
    for done in range(-1, options.rounds):
        for arm in found:
            with contestant(options, backend, folder, measure="start", resumes=arm == "resumed") as process:
                once = process.answer()
                process.process.wait(120)  # its end must not slow the next start
            versions |= once["versions"]
            if done >= 0:
                found[arm]["seconds"].append(once["seconds"])
    return found, versions


# --- results ----------------------------------------------------------------------------------------------------------


def render(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    titles = {
        "save": "A save",
        "train": f"{results['steps']} steps after one save (batch {results['batch_size']}, length {results['length']})",
        "start": "From the call of fit to the end of the first step",
    }
    versions = {name: version for name, version in results["versions"].items() if name != "kgenre"}
    where = f"{results['cpu']}, {results['cores']} cores, device {results['device']}"
    lines = [
        f"{origin(results, where)}; {listed(versions)}. {results['rounds']} rounds. Milliseconds: median (quartiles); "
        "ratios of medians [95% interval]."
    ]
    for measure, title in titles.items():
        rows = [row for row in results["rows"] if row["measure"] == measure]
        if rows:
            head = ["what", "backend", "ms", "MB", f"/ {BASES[measure]}"]
            lines += ["", title, "", table_row(head), "|---|---|---:|---:|---:|"]
        for row in rows:
            median, *quartiles = (1000 * np.percentile(row["seconds"], q) for q in (50, 25, 75))
            size = f"{row['bytes'] / 1e6:.1f}" if row.get("bytes") else ""
            cells = [with_quartiles(median, quartiles, ".0f"), size, with_interval(row["ratio"], 3)]
            lines.append(table_row([row["what"], row["backend"], *cells]))
    return "\n".join(lines) + "\n"


def rows_of(measure: str, backend: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each contestant, with its ratio to the base."""
    base = found[BASES[measure]]["seconds"]
    return [
        {
            "measure": measure,
            "what": what,
            "backend": "torch" if what.startswith("lightning") else backend,
            "ratio": None if what == BASES[measure] else ratio_with_interval(values["seconds"], base),
            **values,
        }
        for what, values in found.items()
    ]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = parser_for(__doc__, resumes=False)
    parser.add_argument("--backends", nargs="+", choices=("jax", "tensorflow"), default=["jax", "tensorflow"])
    parser.add_argument("--measures", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--rounds", type=int, help="measured rounds; default 15, with --quick 2")
    parser.add_argument("--steps", type=int, help="training steps per save; default 50, with --quick 3")
    parser.add_argument("--batch-size", type=int, help="default 64, with --quick 4")
    parser.add_argument("--length", type=int, help="words per overview; default 45, with --quick 8")
    parser.add_argument("--quick", action="store_true", help="few rounds, small sizes: does it run at all?")
    parser.add_argument("--folder", type=Path, help="a folder on the disk to test; default: the temporary folder")
    parser.add_argument(
        "--lightning-python", metavar="PATH", help="a Python with lightning and torch; default: without Lightning"
    )
    options = parser.parse_args(arguments)
    for name, usual, quick in (("rounds", 15, 2), ("steps", 50, 3), ("batch_size", 64, 4), ("length", 45, 8)):
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else usual)
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} is at least 1. Received: {getattr(options, name)}")
    return options


def main() -> int:
    """Measure, print the table, write the JSON."""
    options = parse()
    if print_rendered(options, render):
        return 0
    results, rows, versions = about("checkpointing"), [], {}
    measures = {"save": measure_save, "train": measure_train, "start": measure_start}
    with tempfile.TemporaryDirectory(prefix="checkpointing-", dir=options.folder, ignore_cleanup_errors=True) as folder:
        for backend in options.backends:
            for measure in options.measures:
                say(f"{measure} on {backend} ...")
                found, used = measures[measure](options, backend, Path(folder) / f"{measure}-{backend}")
                rows += rows_of(measure, backend, found)
                versions |= used
    results |= {
        "device": options.device,
        "versions": dict(sorted(versions.items())),
        "targets": TARGETS,
        "rows": rows,
        **{name: getattr(options, name) for name in ("rounds", "steps", "batch_size", "length")},
    }
    write(options.output, results)
    print(render(results), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
