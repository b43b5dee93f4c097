"""What a run costs besides computing: decoding posters in its first epoch, input in later ones, compiling again.

In each round a first start has an empty cache (of decoded posters and compiled programs), a second one the cache of the
first. See benchmarks/README.md.

    python benchmarks/whole_run.py --data.path FILMS --quick
    python benchmarks/whole_run.py --data.path FILMS --output whole_run.json
    python benchmarks/whole_run.py --render whole_run.json
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from earlier_results import earlier_results
from machine import cpu_name, environment_for, git_commit
from ratio import ratio_with_interval
from table_row import table_row

# Rows of the table: (title, parts of the numerator, parts of the denominator, target). Parts are summed.
RATIOS = (
    ("first epoch, posters decoded", ("data", "first epoch"), ("compute", "bare decode"), 1.1),
    ("later epoch", ("later epoch",), ("compute",), 1.03),
    ("compiling, second start", ("compile, second start",), ("compile",), 0.3),
)


# --- in a separate process --------------------------------------------------------------------------------------------


def start(work: dict[str, Any]) -> dict[str, Any]:
    """Run one fit; return the seconds of its parts."""
    begun = time.perf_counter()
    from kgenre.cli.quiet_backend import import_backend

    import_backend()
    import kgenre
    from kgenre.data import FilmData
    from kgenre.models import GenreClassifier

    seconds: dict[str, Any] = {"import": time.perf_counter() - begun, "later epoch": [], "compute": []}
    is_first = work["first"]

    class Films(FilmData):
        def setup(self, stage: str) -> None:
            begun = time.perf_counter()
            super().setup(stage)
            seconds["data"] = time.perf_counter() - begun

    class Times(kgenre.Callback):
        """Records times; waits for the device only after the first step and at the end of epochs."""

        def __init__(self) -> None:
            self.batches: list[Any] = []

        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            self.begun = time.perf_counter()

        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            if trainer.current_epoch == 0:
                self.batches.append(batch)

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if trainer.global_step == 1:
                trainer.engine.epoch_logs("train")
                seconds["first step"] = time.perf_counter() - self.begun
                self.begun = time.perf_counter()

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            trainer.engine.epoch_logs("train")
            passed = time.perf_counter() - self.begun
            if trainer.current_epoch:
                seconds["later epoch"].append(passed)
            else:  # the step that compiled counts as much as the others
                steps = len(self.batches)
                seconds["first epoch"] = passed * steps / max(1, steps - 1)
            if trainer.current_epoch or not is_first:
                begun = time.perf_counter()
                for batch in self.batches:
                    trainer.engine.train_step(batch)
                trainer.engine.epoch_logs("train")
                seconds["compute"].append(time.perf_counter() - begun)

    times = Times()
    films = Films(work["path"], overviews=False, batch_size=work["batch_size"])
    trainer = kgenre.Trainer(
        max_epochs=3 if is_first else 1,
        limit_train_batches=None if is_first else 4,
        limit_val_batches=0,
        default_root_dir=work["folder"],
        callbacks=times,
    )
    trainer.fit(GenreClassifier(work["network"]), datamodule=films)
    seconds = {name: float(np.median(value)) for name, value in seconds.items() if value != []}
    seconds["compile"] = seconds["first step"] - seconds["compute"] / len(times.batches)
    if is_first:
        seconds["bare decode"] = _bare_decode(films)
    return seconds


def _bare_decode(films: Any) -> float:
    """Time TensorFlow on the same JPEGs, already in memory, at the smallest sufficient scale and without resizing."""
    from input_pipeline import cold_contestants

    paths = [Path(path) for path in films.table.poster_paths if path]
    with tempfile.TemporaryDirectory() as folder:
        contestants = cold_contestants(paths, (64, 64), Path(folder))
        found = []
        for name in ("bare tf.io (tf.data)", "bare tf.io (threads)") * 2:
            begun = time.perf_counter()
            contestants[name]()
            found.append(time.perf_counter() - begun)
    return min(found)


# --- all starts -------------------------------------------------------------------------------------------------------


def measure(options: argparse.Namespace, backend: str) -> list[dict[str, float]]:
    """Run the rounds of a backend; return the seconds of the first start, and of compiling and data in the second."""
    rounds = []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="whole_run-", ignore_cleanup_errors=True) as folder:
            environment = environment_for(backend, options.device) | {"KGENRE_CACHE": f"{folder}/cache"}
            for first in (True, False):
                work = {"path": options.path, "network": options.network, "batch_size": options.batch_size}
                work |= {"folder": folder, "first": first}
                command = [sys.executable, __file__, "--start", json.dumps(work)]
                done = subprocess.run(command, env=environment, capture_output=True, text=True)
                if done.returncode:
                    raise SystemExit(f"{backend}: {done.stderr[-3000:]}")
                seconds = json.loads(done.stdout.splitlines()[-1])
                if first:
                    rounds.append(seconds)
                else:
                    rounds[-1]["compile, second start"] = seconds["compile"]
                    rounds[-1]["data, second start"] = seconds["data"]
        said = ", ".join(f"{name} {value:.2f}" for name, value in rounds[-1].items())
        print(f"{backend} {number + 1}/{options.rounds}: {said}", file=sys.stderr, flush=True)
    return rounds


def render(result: dict[str, Any]) -> str:
    """Return the seconds of each part and the ratios as Markdown."""
    names = list(dict.fromkeys(name for rounds in result["seconds"].values() for name in rounds[0]))
    backends = list(result["seconds"])

    lines = [
        f"{result['cpu']}, {result['cores']} cores; {result['date']}, commit {(result['git_commit'] or '?')[:12]}. "
        f"{result['network']}, batch {result['batch_size']}, {result['rounds']} rounds. Medians.",
        "",
        table_row(["seconds", *backends]),
        table_row(["---", *["---:"] * len(backends)]),
    ]
    for name in names:
        values = (f"{np.median([done[name] for done in result['seconds'][backend]]):.2f}" for backend in backends)
        lines.append(table_row([name, *values]))
    lines += ["", table_row(["ratio [95% interval]", *backends, "target"])]
    lines.append(table_row(["---", *["---:"] * (len(backends) + 1)]))
    for what, over, under, target in RATIOS:
        cells = []
        for backend in backends:
            sums = [[sum(done[n] for n in parts) for done in result["seconds"][backend]] for parts in (over, under)]
            cells.append("{:.2f} [{:.2f}, {:.2f}]".format(*ratio_with_interval(*sums)))
        title = f"{what}: ({' + '.join(over)}) / ({' + '.join(under)})"
        lines.append(table_row([title, *cells, f"<= {target}"]))
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, write the JSON after each backend, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data.path", dest="path", help="films with posters; default: the sample set")
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "jax"])
    parser.add_argument("--network", default="poster_cnn_2024")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--output", type=Path, metavar="JSON")
    parser.add_argument("--render", type=Path, metavar="JSON", help="only print the tables of an earlier run")
    parser.add_argument("--start", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.render:
        print(render(json.loads(options.render.read_text())), end="")
        return 0
    if options.start:
        print(json.dumps(start(json.loads(options.start))))
        return 0
    options.rounds = 1 if options.quick else options.rounds
    identity = {
        "cpu": cpu_name(),
        "network": options.network,
        "batch_size": options.batch_size,
        "rounds": options.rounds,
    }
    seconds: dict[str, Any] = {"seconds": {}}  # of other backends too
    result = seconds | earlier_results(options.output, identity) | identity
    result |= {
        "benchmark": "whole_run",
        "date": datetime.date.today().isoformat(),
        "git_commit": git_commit(),
        "cores": os.cpu_count(),
    }
    for backend in options.backends:
        result["seconds"][backend] = measure(options, backend)
        if options.output:
            options.output.parent.mkdir(parents=True, exist_ok=True)
            options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(render(result), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
