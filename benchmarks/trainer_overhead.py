"""What does the trainer cost? Microseconds per step of kgenre, Keras ``fit``, a hand-written loop and Lightning.

    python benchmarks/trainer_overhead.py --quick                                         # a minute: does it run?
    python benchmarks/trainer_overhead.py --input arrays tf.data --output overhead.json   # 5 to 15 minutes, 2 cores
    python benchmarks/trainer_overhead.py --render overhead.json                          # the tables again

The network (16-32-4, batch 64) is so small that nearly all the time is overhead. Every contestant is a process with its
own ``KERAS_BACKEND`` (0.6 GB). In each round each of them trains one epoch while the others wait, so that other load on
the machine affects all of them. The contestants are in trainer_overhead_contestants.py:

    kgenre          the Trainer's defaults: TensorBoard and CSV loggers, a checkpoint and a line of progress per epoch,
                    as many steps per compiled call as it found to be fastest
    kgenre-single   the same with one step per call
    kgenre-bare     one step per call, without loggers, checkpoints and progress
    keras-fit       ``model.fit`` with a ModelCheckpoint per epoch, otherwise its defaults
    hand-written    the loop one would write instead: a jitted step that donates its state, or one ``tf.function``;
                    losses fetched at the end of the epoch, nothing written
    lightning       the defaults of Lightning's Trainer, in one thread (two gain nothing on so small a network)

All have the same data in the same order, the same initial weights, and Adam with the same settings. The script computes
every contestant's loss itself before and after, and exits with code 1 if one did not train or reached another loss.
A time is the wall time from the first batch request of an epoch to that of the next one, divided by its steps: it
includes the device, and what a trainer does at the end of an epoch, which weighs more if epochs are short (--steps).
The first epoch, which compiles, and the last one are not counted. ``arrays`` are NumPy batches in a list; Keras ``fit``
gets the two whole arrays, Lightning the batches as tensors. ``tf.data`` is a prefetched pipeline that yields the same.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import math
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from machine import environment_for
from markdown_table import table, with_interval, with_quartiles
from processes import Contestant
from ratio import ratio_with_interval
from result_file import about, listed, origin, parser_for, print_rendered, say, write
from trainer_overhead_contestants import BATCH_SIZE

CONTESTANTS = ("kgenre", "kgenre-single", "kgenre-bare", "keras-fit", "hand-written", "lightning")
BACKENDS = ("jax", "tensorflow", "torch")
INPUTS = ("arrays", "tf.data")
BASES = ("hand-written", "keras-fit", "lightning")  # the table has ratios to these
SAME_LOSS = 0.02  # relative: data, weights and optimizer are the same, so a larger difference is an error


@dataclass
class Measured:
    """What one contestant trains with, and what was measured so far."""

    name: str
    backend: str
    input: str
    process: Contestant
    seconds: list[float] = field(default_factory=list)  # per epoch; the first is the warm-up
    result: dict[str, Any] = field(default_factory=dict)


# --- measuring ------------------------------------------------------------------------------------------------------


def measure(arguments: argparse.Namespace, source: str, folder: Path) -> list[Measured]:
    """Run all contestants on one kind of input: a warm-up epoch each, then the rounds, then a last epoch.

    The last epoch is not counted: its end is also the end of the fit.
    """
    begun = time.perf_counter()
    with contextlib.ExitStack() as running:
        contestants = []
        for pair in _pairs(arguments, source):
            contestants.append(_start(arguments, *pair, source, folder))
            running.callback(contestants[-1].process.end)
        for one in contestants:
            one.process.answer()  # it is ready to train
        for one in contestants:
            one.seconds.append(one.process.go()["seconds"])
            say(f"{one.process.label}: warm-up {one.seconds[0]:.2f} s")
        for done in range(1, arguments.rounds + 1):
            for one in contestants:
                one.seconds.append(one.process.go()["seconds"])
            if done in {1, arguments.rounds} or done % max(1, arguments.rounds // 5) == 0:
                say(f"{source}: round {done} of {arguments.rounds} ({time.perf_counter() - begun:.0f} s)")
        for one in contestants:
            one.result = one.process.go()
            one.process.process.wait(timeout=120)
            say(f"{one.process.label}: loss {one.result['initial_loss']:.4f} -> {one.result['final_loss']:.4f}")
    return contestants


def _pairs(arguments: argparse.Namespace, source: str) -> list[tuple[str, str]]:
    pairs = [(name, backend) for backend in arguments.backends for name in arguments.contestants if name != "lightning"]
    if "lightning" in arguments.contestants and source == "arrays":  # Lightning does not read tf.data
        pairs.append(("lightning", "torch"))
    return pairs


def _start(arguments: argparse.Namespace, name: str, backend: str, source: str, folder: Path) -> Measured:
    place = folder / f"{name}-{backend}-{source}"
    work = {"contestant": name, "input": source, "steps": arguments.steps, "epochs": arguments.rounds + 2}
    process = Contestant(
        f"{name} on {backend} ({source})",
        "trainer_overhead_contestants.py",
        work | {"folder": str(place)},
        place,
        environment_for(backend, arguments.device),
        arguments.lightning_python if name == "lightning" else sys.executable,
    )
    return Measured(name, backend, source, process)


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
    rows = results["rows"]
    bases = [base for base in BASES if any(base in row["ratios"] for row in rows)]
    versions = {name: version for name, version in results["versions"].items() if name != "kgenre"}
    where = origin(results, f"{results['cpu']}, {results['cores']} cores, device {results['device']}")
    lines = [
        f"{where}; {listed(versions)}. Epochs of {results['steps']} steps, {results['rounds']} rounds. Microseconds "
        "per step: median (quartiles); ratios of medians [95% interval].",
    ]
    for source in dict.fromkeys(row["input"] for row in rows):
        head = ["contestant", "backend", "µs per step", *(f"/ {base}" for base in bases), "final loss"]
        cells = [
            [
                row["contestant"],
                row["backend"],
                with_quartiles(row["median"], row["quartiles"], ".0f"),
                *(with_interval(row["ratios"].get(base)) for base in bases),
                f"{row['final_loss']:.4f}",
            ]
            for row in rows
            if row["input"] == source
        ]
        lines += ["", f"Input: {source}", "", *table(head, cells, texts=2)]
    return "\n".join(lines) + "\n"


def _results(arguments: argparse.Namespace, contestants: list[Measured]) -> dict[str, Any]:
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
    versions = {name: version for c in contestants for name, version in c.result["versions"].items()}
    return {
        "device": arguments.device,
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
    parser = parser_for(__doc__, resumes=False)
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS[:2], help="default: jax tensorflow")
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, help="default: all that can run here")
    parser.add_argument(
        "--input", nargs="+", choices=INPUTS, default=("arrays",), help="NumPy batches (default) or tf.data"
    )
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--steps", type=int, help="steps per epoch; default 1000, with --quick 50")
    parser.add_argument("--rounds", type=int, help="measured epochs of each contestant; default 30, with --quick 3")
    parser.add_argument("--quick", action="store_true", help="few short epochs: does it run at all?")
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
    if print_rendered(arguments, render):
        return 0
    contestants, results = [], about("trainer_overhead")
    with tempfile.TemporaryDirectory(prefix="trainer_overhead-", ignore_cleanup_errors=True) as folder:
        for source in arguments.input:
            contestants += measure(arguments, source, Path(folder))
    results |= _results(arguments, contestants)
    write(arguments.output, results)
    print(render(results), end="")
    problems = untrained(results["rows"])
    for problem in problems:
        say(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
