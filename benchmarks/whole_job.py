"""How long does a whole job take? ``kgenre fit`` of a configuration, from poster files to its best validation loss.

    python benchmarks/whole_job.py --data.path FILMS --configs configs/poster_cnn_2024.yaml --output job.json
    python benchmarks/whole_job.py --device gpu --samples 10000 --output job.json       # made-up films: times only
    python benchmarks/whole_job.py --render job.json

The six jobs of the table in README.md take six minutes on 2 cores.

Each is a ``kgenre fit`` in a separate process with an empty cache: it imports, reads and splits the films, decodes
their posters, fits the baselines, trains and validates every epoch, and writes its run. Seconds per epoch are those of
training; a later epoch is the median of all but the first; ``input wait`` is the share of them that the loop waited for
batches. Options that this script does not know are passed to ``kgenre fit``.
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
from kgenre_fit import fit, logged
from machine import cpu_name, driver, environment_for, gpu_name
from markdown_table import table
from processes import Failed, run_python
from result_file import about, earlier_results, listed, origin, parser_for, print_rendered, say, write

SECONDS, WAIT = "throughput/seconds_per_epoch", "input_wait"


def job(backend: str, config: str, options: argparse.Namespace, words: list[str]) -> dict[str, Any]:
    """Run one job; return its seconds, and the losses and seconds of its epochs."""
    with tempfile.TemporaryDirectory(prefix="whole_job-", ignore_cleanup_errors=True) as folder:
        environment = environment_for(backend, options.device) | {"KGENRE_CACHE": f"{folder}/cache"}
        asked = ["--config", config, "--data.path", options.path, *words, "--trainer.callbacks+=InputMonitor"]
        begun = time.perf_counter()
        try:
            run = fit(*asked, root=Path(folder), name="job", environment=environment)
        except Failed as error:
            return {"not_measured": str(error).splitlines()[-1][:200]}
        seconds, epochs = time.perf_counter() - begun, logged(run, "val/loss", SECONDS, WAIT)
        found, numbers, split = (
            json.loads((run / name).read_text(encoding="utf-8"))
            for name in ("environment.json", "metrics.json", "split.json")
        )
    return {
        "seconds": seconds,
        "val_loss": epochs["val/loss"],
        "epoch_seconds": epochs[SECONDS],
        "input_wait": epochs[WAIT],
        "train_films": len(split["train"]),
        "frequency_loss": numbers.get("val/baseline_frequency/loss"),
        "devices": found["devices"],
        "versions": found["versions"],
    }


def render(result: dict[str, Any]) -> str:
    """Return the jobs as a Markdown table."""
    where = result["gpu"] or f"{result['cpu']}, {result['cores']} cores"
    where += f", driver {result['driver']}" if result["driver"] else ""
    versions = {name: each for row in result["rows"] for name, each in row.get("versions", {}).items() if each}
    head = ["config", "backend", "films", "epochs", "whole job s", "first epoch s", "a later epoch s", "films/s"]
    head += ["input wait", "best validation loss", "after epoch", "s until then", "genre frequencies"]
    lines = []
    for row in result["rows"]:
        start = [Path(row["config"]).stem, row["backend"]]
        if "not_measured" in row:
            lines.append([*start, f"not measured: {row['not_measured']}"])
            continue
        best = int(np.argmin(row["val_loss"]))
        later = row["epoch_seconds"][1:] or row["epoch_seconds"]
        lines.append(
            [
                *start,
                f"{row['train_films']:,}",
                len(row["val_loss"]),
                f"{row['seconds']:.1f}",
                f"{row['epoch_seconds'][0]:.2f}",
                f"{np.median(later):.3g}",
                f"{row['train_films'] / np.median(later):,.0f}",
                f"{np.median(row['input_wait'][1:] or row['input_wait']):.1%}",
                f"{row['val_loss'][best]:.4f}",
                best + 1,
                f"{row['seconds'] - sum(row['epoch_seconds'][best + 1 :]):.1f}",
                f"{row['frequency_loss']:.4f}" if row["frequency_loss"] else "",
            ]
        )
    above = f"{origin(result, where)}; {result['films']}; {listed(dict(sorted(versions.items())))}"
    return "\n".join([above, "", *table(head, lines, texts=2)]) + "\n"


def main() -> int:
    """Run the jobs that are missing, write the JSON after each, print the table."""
    parser = parser_for(__doc__)
    parser.add_argument("--data.path", dest="path", metavar="FILMS", help="films with posters")
    parser.add_argument("--samples", type=int, default=2500, help="films to generate, without FILMS")
    parser.add_argument("--configs", nargs="+", default=["configs/poster_cnn_2024.yaml"], metavar="YAML")
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "jax"])
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    options, words = parser.parse_known_args()
    if print_rendered(options, render):
        return 0
    made_up = options.path is None
    identity = {
        "cpu": cpu_name(),
        "gpu": gpu_name() if options.device == "gpu" else None,
        "films": f"{options.samples} made-up films, whose losses are meaningless" if made_up else "real films",
    }
    result: dict[str, Any] = {"rows": []} | earlier_results(options.output, identity) | identity
    result |= about("whole_job") | {"driver": driver() if options.device == "gpu" else None}
    done = {(row["config"], row["backend"]) for row in result["rows"] if "not_measured" not in row}
    with tempfile.TemporaryDirectory(prefix="whole_job-films-") as films:
        if made_up:
            options.path = f"{films}/films"
            run_python("-m", "kgenre", "data", "sample", options.path, "--films", options.samples)
        for config in options.configs:
            for backend in options.backends:
                if (config, backend) in done:
                    continue
                row = {"config": config, "backend": backend} | job(backend, config, options, words)
                say(f"{config} on {backend}: {_outcome(row)}")
                others = [old for old in result["rows"] if (old["config"], old["backend"]) != (config, backend)]
                result["rows"] = [*others, row]
                write(options.output, result)
    print(render(result), end="")
    return 0


def _outcome(row: dict[str, Any]) -> str:
    if "not_measured" in row:
        return f"not measured: {row['not_measured']}"
    return f"{row['seconds']:.1f} s, {len(row['val_loss'])} epochs, best validation loss {min(row['val_loss']):.4f}"


if __name__ == "__main__":
    sys.exit(main())
