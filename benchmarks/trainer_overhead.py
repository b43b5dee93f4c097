"""Trainer overhead in microseconds per step: kgenre, Keras ``fit``, a hand-written loop and Lightning.

The network (16-32-4, batch 64) is so small that nearly all the time is overhead. Every contestant is a process with its
own ``KERAS_BACKEND``. In each round every contestant trains one epoch, one after the other, so that other load on the
machine affects all of them. See benchmarks/README.md.

    python benchmarks/trainer_overhead.py --quick
    python benchmarks/trainer_overhead.py --input arrays tf.data --output overhead.json
    python benchmarks/trainer_overhead.py --render overhead.json
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.util
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from machine import cpu_name, environment_for, git_commit
from overhead_contestants import BATCH_SIZE
from ratio import ratio_with_interval
from table_row import table_row

CONTESTANTS = ("kgenre", "kgenre-single", "kgenre-bare", "keras-fit", "hand-written", "lightning")
BACKENDS = ("jax", "tensorflow", "torch")
INPUTS = ("arrays", "tf.data")
BASES = ("hand-written", "keras-fit", "lightning")  # the table has ratios to these
SAME_LOSS = 0.02  # relative: data, weights and optimizer are the same, so a larger difference is an error
_HERE = Path(__file__).resolve().parent


@dataclass
class Contestant:
    """One process: what it trains with, and what was measured so far."""

    name: str
    backend: str
    input: str
    process: subprocess.Popen[str]
    log: Path
    seconds: list[float] = field(default_factory=list)  # per epoch; the first is the warm-up
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The contestant's name, for the screen."""
        return f"{self.name} on {self.backend}"

    def answer(self) -> dict[str, Any]:
        """Return the next line of the process.

        Raises:
            SystemExit: the process ended instead; the message contains the last lines of its log.
        """
        line = self.process.stdout.readline()
        if not line:
            log = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise SystemExit(f"{self.label} ({self.input}) ended with code {self.process.wait()}:\n{log}")
        return json.loads(line)

    def go(self) -> dict[str, Any]:
        """Let the process train one more epoch, and wait for its answer."""
        with contextlib.suppress(BrokenPipeError):  # `answer` reports what happened to the process
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
        return self.answer()


# --- measuring ------------------------------------------------------------------------------------------------------


def measure(arguments: argparse.Namespace, source: str, folder: Path) -> list[Contestant]:
    """Run all contestants on one kind of input: a warm-up epoch each, then the rounds, then a last epoch.

    The last epoch is not counted: its end is also the end of the fit.
    """
    begun = time.perf_counter()
    contestants: list[Contestant] = []
    try:
        for name, backend in _pairs(arguments, source):
            contestants.append(_start(arguments, name, backend, source, folder))
        for contestant in contestants:
            contestant.answer()  # it is ready to train
        for contestant in contestants:
            contestant.seconds.append(contestant.go()["seconds"])
            _say(f"{source}: {contestant.label}: warm-up {contestant.seconds[0]:.2f} s")
        for done in range(1, arguments.rounds + 1):
            for contestant in contestants:
                contestant.seconds.append(contestant.go()["seconds"])
            if done in {1, arguments.rounds} or done % max(1, arguments.rounds // 5) == 0:
                _say(f"{source}: round {done} of {arguments.rounds} ({time.perf_counter() - begun:.0f} s)")
        for contestant in contestants:
            contestant.result = contestant.go()
            contestant.process.wait(timeout=120)
            loss = contestant.result
            _say(f"{source}: {contestant.label}: loss {loss['initial_loss']:.4f} -> {loss['final_loss']:.4f}")
    finally:
        for contestant in contestants:
            contestant.process.kill()
            contestant.process.communicate()
    return contestants


def _pairs(arguments: argparse.Namespace, source: str) -> list[tuple[str, str]]:
    pairs = [(name, backend) for backend in arguments.backends for name in arguments.contestants if name != "lightning"]
    if "lightning" in arguments.contestants and source == "arrays":  # Lightning does not read tf.data
        pairs.append(("lightning", "torch"))
    return pairs


def _start(arguments: argparse.Namespace, name: str, backend: str, source: str, folder: Path) -> Contestant:
    place = folder / f"{name}-{backend}-{source}"
    place.mkdir()
    work = {
        "contestant": name,
        "input": source,
        "steps": arguments.steps,
        "epochs": arguments.rounds + 2,
        "folder": str(place),
    }
    python = arguments.lightning_python if name == "lightning" else sys.executable
    log = place / "log.txt"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [python, str(_HERE / "overhead_contestants.py"), json.dumps(work)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment_for(backend, arguments.device),
            cwd=place,
        )
    return Contestant(name, backend, source, process, log)


# --- statistics -----------------------------------------------------------------------------------------------------


def summarise(rows: list[dict[str, Any]]) -> None:
    """Add medians, quartiles and ratios to the rows, from their microseconds per step."""
    for row in rows:
        row["median"] = float(np.median(row["us_per_step"]))
        row["quartiles"] = [float(q) for q in np.percentile(row["us_per_step"], [25, 75])]
        row["ratios"] = {}
        for base in BASES:
            for other in rows:
                same = base == "lightning" or other["backend"] == row["backend"]
                if other["contestant"] == base and other["input"] == row["input"] and same and other is not row:
                    row["ratios"][base] = ratio_with_interval(row["us_per_step"], other["us_per_step"])


def untrained(rows: list[dict[str, Any]]) -> list[str]:
    """Return a line for each contestant that did not train, or that reached another loss than the others."""
    lines = []
    for row in rows:
        usual = float(np.median([other["final_loss"] for other in rows if other["input"] == row["input"]]))
        start, end = row["initial_loss"], row["final_loss"]
        who = f"{row['contestant']} on {row['backend']} ({row['input']})"
        if not (math.isfinite(end) and end < start):
            lines.append(f"{who} did not train: loss {start:.4f} -> {end:.4f}")
        elif abs(end - usual) > SAME_LOSS * usual:
            lines.append(f"{who} ends at loss {end:.4f}, the others at {usual:.4f}")
    return lines


# --- results --------------------------------------------------------------------------------------------------------


def render(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    rows, versions = results["rows"], results["versions"]
    bases = [base for base in BASES if any(base in row["ratios"] for row in rows)]
    lines = [
        f"{results['cpu']}, {results['cores']} cores, device {results['device']}; {results['date']}, commit "
        f"{(results['git_commit'] or 'unknown')[:12]}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items() if name != "kgenre")
        + f". Epochs of {results['steps']} steps, {results['rounds']} rounds. Microseconds per step: median "
        "(quartiles); ratios of medians [95% interval].",
    ]
    for source in dict.fromkeys(row["input"] for row in rows):
        head = ["contestant", "backend", "µs per step", *(f"/ {base}" for base in bases), "final loss"]
        lines += ["", f"Input: {source}", "", table_row(head), table_row(["---"] * 2 + ["---:"] * (len(head) - 2))]
        for row in (row for row in rows if row["input"] == source):
            ratios = [row["ratios"].get(base) for base in bases]
            lines.append(
                table_row(
                    [
                        row["contestant"],
                        row["backend"],
                        "{:.0f} ({:.0f}-{:.0f})".format(row["median"], *row["quartiles"]),
                        *("{:.2f} [{:.2f}, {:.2f}]".format(*ratio) if ratio else "" for ratio in ratios),
                        f"{row['final_loss']:.4f}",
                    ]
                )
            )
    return "\n".join(lines) + "\n"


def _results(arguments: argparse.Namespace, contestants: list[Contestant]) -> dict[str, Any]:
    rows = [
        {
            "contestant": c.name,
            "backend": c.backend,
            "input": c.input,
            "us_per_step": [1e6 * seconds / arguments.steps for seconds in c.seconds[1:]],
            "warm_up_seconds": c.seconds[0],
            "initial_loss": c.result["initial_loss"],
            "final_loss": c.result["final_loss"],
        }
        for c in contestants
    ]
    summarise(rows)
    versions: dict[str, str] = {}
    for contestant in contestants:
        versions |= contestant.result["versions"]
    return {
        "benchmark": "trainer_overhead",
        "date": datetime.date.today().isoformat(),
        "device": arguments.device,
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "platform": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": dict(sorted(versions.items())),
        "steps": arguments.steps,
        "rounds": arguments.rounds,
        "batch_size": BATCH_SIZE,
        "rows": rows,
    }


# --- command line -----------------------------------------------------------------------------------------------------


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS[:2], help="default: jax tensorflow")
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, help="default: all that can run here")
    parser.add_argument(
        "--input", nargs="+", choices=INPUTS, default=("arrays",), help="NumPy batches (default) or tf.data"
    )
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--steps", type=int, help="steps per epoch; default 1000, with --quick 50")
    parser.add_argument("--rounds", type=int, help="measured epochs of each contestant; default 30, with --quick 3")
    parser.add_argument("--quick", action="store_true", help="few short epochs: does it run at all?")
    parser.add_argument("--output", type=Path, metavar="JSON", help="write the results here")
    parser.add_argument("--render", type=Path, metavar="JSON", help="only print the table of earlier results")
    parser.add_argument(
        "--lightning-python", default=sys.executable, metavar="PATH", help="a Python with lightning and torch"
    )
    options = parser.parse_args(arguments)
    options.steps = options.steps if options.steps is not None else (50 if options.quick else 1000)
    options.rounds = options.rounds if options.rounds is not None else (3 if options.quick else 30)
    if options.steps < 1 or options.rounds < 1:
        parser.error(f"--steps and --rounds are at least 1. Received: {options.steps} and {options.rounds}")
    if shutil.which(options.lightning_python) is None:
        parser.error(f"--lightning-python takes an interpreter. Received: {options.lightning_python}")
    has_lightning = options.lightning_python != sys.executable or importlib.util.find_spec("lightning") is not None
    if options.contestants is None:
        options.contestants = [name for name in CONTESTANTS if name != "lightning" or has_lightning]
    elif "lightning" in options.contestants and not has_lightning:
        parser.error("lightning is not installed here: pip install lightning, or give --lightning-python PATH.")
    return options


def main() -> int:
    """Measure, print the table, write the JSON; return 1 if a contestant did not train like the others."""
    arguments = parse()
    if arguments.render:
        print(render(json.loads(arguments.render.read_text())), end="")
        return 0
    contestants = []
    commit = git_commit()  # before the run, during which the checkout may change
    with tempfile.TemporaryDirectory(prefix="trainer_overhead-", ignore_cleanup_errors=True) as folder:
        for source in arguments.input:
            contestants += measure(arguments, source, Path(folder))
    results = _results(arguments, contestants) | {"git_commit": commit}
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(results, indent=1) + "\n")
    print(render(results), end="")
    problems = untrained(results["rows"])
    for problem in problems:
        _say(problem)
    return 1 if problems else 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
