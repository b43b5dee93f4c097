"""How many films per second? kgenre, Keras ``fit``, a hand-written loop and Lightning by network, backend, batch size.

    python benchmarks/throughput.py --quick                                          # two minutes: does it run?
    python benchmarks/throughput.py --output cpu.json                                # the course's networks, batch 64
    python benchmarks/throughput.py --models poster_resnet overview_lstm_pooled --output own.json     # kgenre's own
    python benchmarks/throughput.py --sources pipeline input --output fed.json       # fed by the film pipeline
    python benchmarks/throughput.py --device gpu --all --output gpu.json             # hours; gpu.sh runs it in parts
    python benchmarks/throughput.py --render cpu.json gpu.json --plot plots          # the tables, and pictures
    python benchmarks/throughput.py --render cpu.json gpu.json --summary             # a line for each network

A network takes five to ten minutes with ten rounds on 2 cores. Every contestant is a process with its own
``KERAS_BACKEND``. In each round every contestant of a group (one network, batch size, precision and data source) trains
an epoch and infers as many batches, while the others wait, so that other load on the machine affects all of them. The
JSON is written after every group, and an interrupted run resumes after the last one; cells that could not be measured
stay in the table, with the reason. The contestants are in throughput_contestants.py:

    kgenre            the Trainer's defaults: TensorBoard and CSV loggers, a checkpoint and a line of progress per epoch
    kgenre-several    the same with ``steps_per_execution=25``; on a GPU, for batches of up to 256 films
    raw               the loop one would write, with Keras's layers: a jitted step that donates its state, or one
                      ``tf.function``
    keras-fit         ``model.fit`` with a ModelCheckpoint per epoch, otherwise its defaults; Keras's layers
    keras-fit-padded  the same on overviews that are all padded to 68 words; with ``--words 0`` alone
    lightning         the defaults of Lightning's Trainer, the same network in torch
    input             nobody: the film pipeline alone

``overview_lstm`` is the course's network, ``overview_lstm_cudnn`` the same without recurrent dropout (which rules out
cuDNN); ``overview_lstm_unmasked`` also processes the padding. torch has no recurrent dropout: what Lightning trains
beside the first is the third, which is less work. For the other contestants kgenre's networks are rewritten in Keras's
layers (networks_keras.py) and in torch (networks_torch.py).

Steps are timed from the first batch request until the device has finished. What loggers and progress bars do between
steps counts; checkpoints at the end of an epoch and what Keras ``fit`` and Lightning do before an evaluation do not.
``device``: three batches that are on the device before the clock starts. ``pipeline``: kgenre's tf.data. Overviews are
as long as real ones (median 25 words), padded to ``--words``; with ``--words 0`` a round is an epoch of 28 batches,
which kgenre pads to its length buckets, the others to the longest overview of each batch.

In the tables, ``x raw`` is films/s divided by those of the hand-written loop: above 1 is faster. FLOPs are computed by
formula, for matrix products and convolutions only, padding included. ``of matrix rate`` compares them with what the
device achieved, minutes before, for products of large matrices; ``of copy rate`` does so for the bytes that the kernels
of the hand-written loop read and write under JAX (CNNs on a GPU; gpu_program.py); ``of roofline`` is the larger of the
two. The time to the first step includes imports, building and compiling (the first round minus a later one). What
limits a step follows from a trace of ten steps (--profile): launches if the device is busy less than 70 % of the time,
else products above 40 % of the matrix rate, else the recurrence with over 500 kernels a step, else memory traffic.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import platform
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from machine import cpu_name, environment_for
from markdown_table import select_rows
from networks import MODELS, OWN, POSTERS, PRECISIONS, flops
from processes import Failed, result_of
from ratio import ratio_with_interval
from result_file import about, earlier_results, parser_for, print_rendered, rendering, say, write
from throughput_groups import GROUP, PARTS, Group, Measured, contestants_of, measure, start
from throughput_report import plot, render, summary

BACKENDS = ("jax", "tensorflow", "torch")
PEERS = ("raw", "keras-fit", "keras-fit-padded", "lightning")
SOURCES = ("device", "pipeline", "input")
_HERE = Path(__file__).resolve().parent


# --- measuring -------------------------------------------------------------------------------------------------------


def measure_rates(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the device's matrix and copy rates with the first backend that works."""
    for backend in ("jax", "tensorflow"):
        if importlib.util.find_spec(backend) is None:
            continue
        try:
            script = _HERE / "device_rates.py"
            return result_of(script, options.device, environment=environment_for(backend, options.device))
        except Failed as error:
            say(f"device rates through {backend}: {str(error).splitlines()[-1]}")
    return {"rates": {}, "driver": None}


def summarise(rows: list[dict[str, Any]], rates: dict[str, float]) -> None:
    """Add medians, quartiles, films per second, shares of the device's rates, and ratios within each group."""
    for row in rows:
        if "not_measured" in row:
            continue
        for part, passes in zip(PARTS, (3, 1), strict=True):
            times = row[part]["ms_per_step"]
            median = float(np.median(times))
            row[part]["median_ms"] = median
            row[part]["quartiles_ms"] = [float(q) for q in np.percentile(times, [25, 75])]
            row[part]["films_per_second"] = 1e3 * row["batch_size"] / median
            row[part]["ratios"] = _ratios(row, part, rows)
            if row["source"] == "input" or (row["words"] == OWN and row["model"] not in POSTERS):
                continue
            achieved = passes * flops(row["model"], row["batch_size"], row["words"]) / (median / 1e3)
            row[part]["flops_per_second"] = achieved
            if rates.get(f"{row['precision']} FLOP/s"):
                row[part]["share_of_matrix_rate"] = achieved / rates[f"{row['precision']} FLOP/s"]
            moved = part == "train" and _bytes_per_step(row, rows)
            if moved and rates.get("copy bytes/s"):
                row[part]["bytes_per_second"] = moved / (median / 1e3)
                row[part]["share_of_copy_rate"] = row[part]["bytes_per_second"] / rates["copy bytes/s"]


def _bytes_per_step(row: dict[str, Any], rows: list[dict[str, Any]]) -> float | None:
    """Return the bytes that XLA counts in a step of the hand-written loop under JAX, for the whole group."""
    same = (other for other in rows if all(other[name] == row[name] for name in GROUP) and other["backend"] == "jax")
    return next((other["bytes_per_step"] for other in same if other.get("bytes_per_step")), None)


def _ratios(row: dict[str, Any], part: str, rows: list[dict[str, Any]]) -> dict[str, tuple[float, float, float]]:
    """Return the row's films per second divided by those of the others in its group: their time divided by its own."""
    ratios = {}
    for other in rows:
        if "not_measured" in other or other is row or any(other[name] != row[name] for name in GROUP):
            continue
        named = other["contestant"] if other["backend"] in (row["backend"], "torch") else None
        if other["contestant"] == row["contestant"]:
            named = other["backend"]
        if named:
            ratios[named] = ratio_with_interval(other[part]["ms_per_step"], row[part]["ms_per_step"])
    return ratios


# --- command line -----------------------------------------------------------------------------------------------------


def groups_of(options: argparse.Namespace) -> list[Group]:
    """Return the groups to measure, in order."""
    return [
        Group(model, batch_size, precision, source)
        for source in options.sources
        for batch_size in options.batch_sizes
        for precision in (options.precision if source != "input" else options.precision[:1])
        for model in options.models
    ]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = parser_for(__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS[:3]))
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=["jax", "tensorflow"])
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[64])
    parser.add_argument(
        "--precision", nargs="+", choices=PRECISIONS, default=["fp32"], help="fp32 means TF32 on an NVIDIA GPU"
    )
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS), help="next to kgenre; default: all")
    parser.add_argument(
        "--sources",
        nargs="+",
        choices=SOURCES,
        default=["device"],
        help="compute only, with data on the device (default); fed by the film pipeline; the pipeline alone",
    )
    parser.add_argument(
        "--words",
        type=int,
        default=68,
        help="padded length of the overviews; 0: an epoch of overviews as long as real ones, padded by kgenre to its "
        "length buckets, by keras-fit-padded to 68, by the others to the longest of each batch",
    )
    parser.add_argument(
        "--huge-pages",
        action="store_true",
        help="all contestants use glibc's malloc with huge pages, as `kgenre fit` does under JAX",
    )
    parser.add_argument("--all", action="store_true", help="all models, batches 64 to 8192, fp32 and bf16, profiles")
    parser.add_argument("--rounds", type=int, default=10, help="measured rounds of each contestant")
    parser.add_argument("--seconds", type=float, default=0.5, help="approximate length of a round's training")
    parser.add_argument("--steps", type=int, help="steps per round, instead of --seconds")
    parser.add_argument("--profile", action="store_true", help="trace ten steps of kgenre under JAX: what limits them")
    parser.add_argument(
        "--quick", action="store_true", help="two networks, only raw as peer, few short rounds: does it run?"
    )
    parser.add_argument("--minutes", type=float, help="start no group after this time; a later run resumes")
    parser.add_argument("--summary", action="store_true", help="with --render: one table of kgenre's training steps")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="draw films per second by batch size (matplotlib)")
    parser.add_argument("--lightning-python", default=sys.executable, metavar="PATH", help="a Python with Lightning")
    options = parser.parse_args(arguments)
    if options.all:
        options.models, options.precision, options.profile = list(MODELS), list(PRECISIONS), True
        options.batch_sizes = [64, 256, 1024, 4096, 8192]
    if options.quick:
        options.rounds, options.steps, options.words = 3, options.steps or 2, min(options.words, 16)
        options.models, options.peers, options.batch_sizes = ["poster_cnn_2024", "overview_lstm"], ["raw"], [8]
    if min(options.rounds, options.words + 1, *options.batch_sizes) < 1:
        parser.error("--rounds and --batch-sizes are at least 1, --words at least 0.")
    return options


def main() -> int:
    """Measure the groups that are missing, write the JSON after each, print the tables."""
    options = parse()
    if options.render:
        with rendering(options.render) as earlier:
            if options.summary:
                print(select_rows(summary(earlier), options.rows))
            else:
                print_rendered(options, render, end="\n")
            if options.plot:
                plot(earlier, options.plot)
        return 0
    if options.huge_pages:
        os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
    begun = time.perf_counter()
    identity = {"device": options.device, "cpu": cpu_name()}
    results = {"rows": [], "rates": {}, "driver": None} | earlier_results(options.output, identity) | identity
    results |= about("throughput") | {
        "platform": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "rounds": options.rounds,
        "huge_pages": options.huge_pages,
    }
    done = {tuple(row[key] for key in GROUP) for row in results["rows"] if "not_measured" not in row}
    groups = [group for group in groups_of(options) if tuple(getattr(group, key) for key in GROUP) not in done]
    if groups and not results["rates"]:
        results |= measure_rates(options)
    ahead: list[Measured] = []
    with (
        tempfile.TemporaryDirectory(prefix="throughput-", ignore_cleanup_errors=True) as folder,
        contextlib.ExitStack() as last,
    ):
        last.callback(lambda: [contestant.end() for contestant in ahead])
        for number, group in enumerate(groups, 1):
            passed = time.perf_counter() - begun
            if options.minutes and passed > 60 * options.minutes:
                reason = f"the time was up (--minutes {options.minutes:g})"
                rows = [
                    asdict(group) | {"contestant": name, "backend": backend, "not_measured": reason}
                    for name, backend in contestants_of(options, group)
                ]
            else:
                say(f"{number}/{len(groups)} ({passed:.0f} s) {group.label}")
                contestants = ahead or start(options, group, results["rates"], Path(folder))
                # The next group's imports take ten seconds and no GPU: run them meanwhile, unless the cores are few.
                ahead = []
                if options.device == "gpu" and number < len(groups) and (os.cpu_count() or 1) >= 8:
                    contestants = iter(list(contestants))
                    ahead = list(start(options, groups[number], results["rates"], Path(folder)))
                rows = measure(options, group, iter(contestants))
                summarise(rows, results["rates"])
            keep = [row for row in results["rows"] if any(row[key] != getattr(group, key) for key in GROUP)]
            results["rows"] = keep + rows
            for row in rows:
                say(f"    {row['contestant']} on {row['backend']}: {outcome(row)}")
            write(options.output, results)
    print(render(results))
    if options.plot:
        plot([results], options.plot)
    return 0


def outcome(row: dict[str, Any]) -> str:
    """Return the outcome of a row in a few words, for the screen."""
    if "not_measured" in row:
        return f"not measured: {row['not_measured']}"
    return ", ".join(f"{part} {row[part]['median_ms']:.3g} ms" for part in PARTS)


if __name__ == "__main__":
    if "--render" in sys.argv and hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end quietly if piped into `head`
    sys.exit(main())
