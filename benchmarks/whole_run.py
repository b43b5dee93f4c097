"""What does a run cost besides computing? Decoding in its first epoch, input in later ones, compiling again.

    python benchmarks/whole_run.py --data.path FILMS --quick                     # a round on each backend
    python benchmarks/whole_run.py --data.path FILMS --output whole_run.json     # ten minutes on 2 cores
    python benchmarks/whole_run.py --render whole_run.json

In each round a first start has an empty cache (of decoded posters and compiled programs), a second one the cache of the
first. The parts:

    import        what a command imports
    data          everything before the first batch: reading the table, hashing and decoding posters, splitting
    compute       the steps of an epoch on batches held in memory, in the same process, in turn with the later epochs
    bare decode   TensorFlow's decoder on the same JPEGs, already read, at the smallest sufficient scale and without
                  resizing, in tf.data or threads, whichever is faster
    compile       the first step minus a later one; the first epoch counts that step like the others
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import cpu_name, environment_for
from markdown_table import table, with_interval
from processes import result_of
from ratio import ratio_with_interval
from result_file import about, earlier_results, origin, parser_for, print_rendered, say, write

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
    from kgenre.training.data_module import iterate_epoch

    seconds: dict[str, Any] = {"import": time.perf_counter() - begun, "later epoch": [], "compute": []}
    is_first = work["first"]

    class Films(FilmData):
        def setup(self, stage: str) -> None:
            begun = time.perf_counter()
            super().setup(stage)
            seconds["data"] = time.perf_counter() - begun

    class Times(kgenre.Callback):
        """Records times; waits for the device only after the first step and at the end of epochs.

        It has no hooks of batches, for which JAX's weights would be copied in each step.
        """

        def on_fit_start(self, trainer: Any, module: Any) -> None:
            engine = trainer.engine
            self.batches = list(engine.prefetch(iterate_epoch(trainer.train_source, 0), trainer.num_training_batches))
            self.step = engine.train_step
            engine.train_step = self.first_step

        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            self.engine, self.begun = trainer.engine, time.perf_counter()

        def first_step(self, *arguments: Any, **options: Any) -> Any:
            self.engine.train_step = self.step
            done = self.step(*arguments, **options)
            self.engine.epoch_logs("train")
            seconds["first step"] = time.perf_counter() - self.begun
            self.begun = time.perf_counter()
            return done

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
    from input_pipeline_contestants import cold_contestants

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
                seconds = result_of(__file__, "--start", json.dumps(work), environment=environment)
                if first:
                    rounds.append(seconds)
                else:
                    rounds[-1]["compile, second start"] = seconds["compile"]
                    rounds[-1]["data, second start"] = seconds["data"]
        said = ", ".join(f"{name} {value:.2f}" for name, value in rounds[-1].items())
        say(f"{backend} {number + 1}/{options.rounds}: {said}")
    return rounds


def render(result: dict[str, Any]) -> str:
    """Return the seconds of each part and the ratios as Markdown."""
    found, backends = result["seconds"], list(result["seconds"])

    def median(name: str, backend: str) -> str:
        return f"{np.median([done[name] for done in found[backend]]):.2f}"

    def ratio(parts: tuple[tuple[str, ...], ...], backend: str) -> str:
        sums = [[sum(done[name] for name in names) for done in found[backend]] for names in parts]
        return with_interval(ratio_with_interval(*sums))

    names = dict.fromkeys(name for rounds in found.values() for name in rounds[0])
    ratios = [
        [
            f"{what}: ({' + '.join(over)}) / ({' + '.join(under)})",
            *(ratio((over, under), backend) for backend in backends),
            f"<= {target}",
        ]
        for what, over, under, target in RATIOS
    ]
    lines = [
        origin(result, f"{result['cpu']}, {result['cores']} cores")
        + f". {result['network']}, batch {result['batch_size']}, {result['rounds']} rounds. Medians.",
        "",
        *table(["seconds", *backends], [[name, *(median(name, backend) for backend in backends)] for name in names]),
        "",
        *table(["ratio [95% interval]", *backends, "target"], ratios),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, write the JSON after each backend, print the tables."""
    parser = parser_for(__doc__)
    parser.add_argument("--data.path", dest="path", help="films with posters; default: the sample set")
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "jax"])
    parser.add_argument("--network", default="poster_cnn_2024")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--start", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if print_rendered(options, render):
        return 0
    if options.start:
        print(json.dumps(start(json.loads(options.start))))
        return 0
    options.rounds = 1 if options.quick else options.rounds
    identity = {"cpu": cpu_name()} | {name: getattr(options, name) for name in ("network", "batch_size", "rounds")}
    seconds: dict[str, Any] = {"seconds": {}}  # of other backends too
    result = seconds | earlier_results(options.output, identity) | identity | about("whole_run")
    for backend in options.backends:
        result["seconds"][backend] = measure(options, backend)
        write(options.output, result)
    print(render(result), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
