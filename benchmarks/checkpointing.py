"""The cost of checkpoints: of a save, compared with Keras and Lightning, of saving while training, and of resuming.

The model is the course's overview LSTM (4.3 million parameters) with Adam, 52 MB. See benchmarks/README.md.

    python benchmarks/checkpointing.py --quick
    python benchmarks/checkpointing.py --output checkpointing.json
    python benchmarks/checkpointing.py --render checkpointing.json
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from machine import cpu_name, environment_for, git_commit
from ratio import ratio_with_interval

MEASURES = ("save", "train", "start")
TARGETS = {"kgenre / write + fsync": 1.5, "async / none": 1.02, "resumed / fresh": 1.2}
_HERE = Path(__file__).resolve().parent


@contextmanager
def worker(options: argparse.Namespace, backend: str, folder: Path, **work: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a process of `checkpointing_work.py` with the settings in ``work``; kill it at the end of the block."""
    python = options.lightning_python if work.get("lightning") else sys.executable
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {"batch_size": options.batch_size, "length": options.length, "steps": options.steps}
    order = json.dumps(sizes | {"rounds": options.rounds, "folder": str(folder)} | work)
    with (folder / "log.txt").open("a") as log:
        process = subprocess.Popen(
            [python, str(_HERE / "checkpointing_work.py"), order],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment_for(backend, options.device),
            cwd=folder,
        )
        process.log = folder / "log.txt"
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def answer(process: Any, word: str | None = None) -> dict[str, Any]:
    """Return a worker's next line, after sending it ``word``, if there is one.

    Raises:
        SystemExit: the worker ended instead; the message contains the end of its log.
    """
    if word is not None:
        process.stdin.write(word + "\n")
        process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        log = "\n".join(process.log.read_text(errors="replace").splitlines()[-15:])
        raise SystemExit(f"A worker ended with code {process.wait()}:\n{log}")
    return json.loads(line)


# --- measuring: returns {contestant: {"seconds": one value per round, ...}} and versions of packages -----------------


def measure_save(options: argparse.Namespace, backend: str, folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Save in every way in turn, round after round."""
    workers, versions = {}, {}
    with ExitStack() as running:
        ours = worker(options, backend, folder / "keras", measure="save", lightning=False)
        processes = [running.enter_context(ours)]
        if options.lightning_python:
            lightning = worker(options, "torch", folder / "lightning", measure="save", lightning=True)
            processes.append(running.enter_context(lightning))
        for process in processes:
            ready = answer(process)
            versions |= ready["versions"]
            workers |= dict.fromkeys(ready["ways"], process)
        found: dict[str, Any] = {way: {"seconds": [], "bytes": 0} for way in workers}
        for done in range(-1, options.rounds):  # the first round warms up
            for way, process in workers.items():
                once = answer(process, way)
                if done >= 0:
                    found[way]["seconds"].append(once["seconds"])
                    found[way]["bytes"] = once["bytes"]
    return found, versions


def measure_train(options: argparse.Namespace, backend: str, folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Time epochs in turn: without a save, with a save in the background, and with a save in the foreground."""
    with worker(options, backend, folder, measure="train") as process:
        found = answer(process)
    return {arm: {"seconds": found[arm]} for arm in ("none", "async", "sync")}, found["versions"]


def measure_start(options: argparse.Namespace, backend: str, folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Time the start of fresh processes in turn: of a new run and of a resumed one."""
    found: dict[str, Any] = {"fresh": {"seconds": []}, "resumed": {"seconds": []}}
    versions: dict[str, str] = {}
    for done in range(-1, options.rounds):
        for arm in found:
            with worker(options, backend, folder, measure="start", resumes=arm == "resumed") as process:
                once = answer(process)
                process.wait(120)  # the very first one writes the checkpoint after its answer
            versions |= once["versions"]
            if done >= 0:
                found[arm]["seconds"].append(once["seconds"])
    return found, versions


# --- results ----------------------------------------------------------------------------------------------------------

BASES = {"save": "write + fsync", "train": "none", "start": "fresh"}


def render(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    titles = {
        "save": "A save",
        "train": f"{results['steps']} steps after one save (batch {results['batch_size']}, length {results['length']})",
        "start": "From the call of fit to the end of the first step",
    }
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items() if name != "kgenre")
    lines = [
        f"{results['cpu']}, {results['cores']} cores, device {results['device']}; {results['date']}, commit "
        f"{(results['git_commit'] or 'unknown')[:12]}; {versions}. {results['rounds']} rounds. Milliseconds: median "
        "(quartiles); ratios of medians [95% interval]."
    ]
    for measure in MEASURES:
        rows = [row for row in results["rows"] if row["measure"] == measure]
        if rows:
            base = BASES[measure]
            lines += ["", titles[measure], "", f"| what | backend | ms | MB | / {base} |", "|---|---|---:|---:|---:|"]
        for row in rows:
            median, low, high = (1000 * np.percentile(row["seconds"], q) for q in (50, 25, 75))
            size = f"{row['bytes'] / 1e6:.1f}" if row.get("bytes") else ""
            ratio = "{:.3f} [{:.3f}, {:.3f}]".format(*row["ratio"]) if row["ratio"] else ""
            lines.append(
                f"| {row['what']} | {row['backend']} | {median:.0f} ({low:.0f}-{high:.0f}) | {size} | {ratio} |"
            )
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
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--backends", nargs="+", choices=("jax", "tensorflow"), default=["jax", "tensorflow"])
    parser.add_argument("--measures", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--rounds", type=int, help="measured rounds; default 15, with --quick 2")
    parser.add_argument("--steps", type=int, help="training steps per save; default 50, with --quick 3")
    parser.add_argument("--batch-size", type=int, help="default 64, with --quick 4")
    parser.add_argument("--length", type=int, help="words per overview; default 45, with --quick 8")
    parser.add_argument("--quick", action="store_true", help="few rounds, small sizes: does it run at all?")
    parser.add_argument("--output", type=Path, metavar="JSON", help="write the results here")
    parser.add_argument("--render", type=Path, metavar="JSON", help="only print the table of earlier results")
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
    if options.render:
        print(render(json.loads(options.render.read_text())), end="")
        return 0
    commit, rows, versions = git_commit(), [], {}
    measures = {"save": measure_save, "train": measure_train, "start": measure_start}
    with tempfile.TemporaryDirectory(prefix="checkpointing-", dir=options.folder, ignore_cleanup_errors=True) as folder:
        for backend in options.backends:
            for measure in options.measures:
                print(f"{measure} on {backend} ...", file=sys.stderr, flush=True)
                found, used = measures[measure](options, backend, Path(folder) / f"{measure}-{backend}")
                rows += rows_of(measure, backend, found)
                versions |= used
    results = {
        "benchmark": "checkpointing",
        "date": datetime.date.today().isoformat(),
        "device": options.device,
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "git_commit": commit,
        "versions": dict(sorted(versions.items())),
        "targets": TARGETS,
        "rows": rows,
        **{name: getattr(options, name) for name in ("rounds", "steps", "batch_size", "length")},
    }
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(results, indent=1) + "\n")
    print(render(results), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
