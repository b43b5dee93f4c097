"""The time of whole jobs: ``kgenre fit`` of a configuration, from poster files to its best validation loss.

Each is a ``kgenre fit`` in a separate process with an empty cache: it imports, reads and splits the films, decodes
their posters, fits the baselines, trains and validates every epoch, and writes its run. See benchmarks/README.md.

    python benchmarks/whole_job.py --data.path FILMS --configs configs/poster_cnn_2024.yaml --output job.json
    python benchmarks/whole_job.py --device gpu --samples 10000 --output job.json       # made-up films: times only
    python benchmarks/whole_job.py --render job.json

Unknown options are passed to ``kgenre fit``.
"""

from __future__ import annotations

import argparse
import csv
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
from machine import cpu_name, driver, environment_for, git_commit, gpu_name
from table_row import table_row

SECONDS, WAIT = "throughput/seconds_per_epoch", "input_wait"


def fit(backend: str, config: str, options: argparse.Namespace, words: list[str]) -> dict[str, Any]:
    """Run one job; return its seconds, and the losses and seconds of its epochs."""
    with tempfile.TemporaryDirectory(prefix="whole_job-", ignore_cleanup_errors=True) as folder:
        environment = environment_for(backend, options.device) | {"KGENRE_CACHE": f"{folder}/cache"}
        place = ["--trainer.default_root_dir", folder, "--trainer.name", "job", "--data.path", options.path]
        command = [sys.executable, "-m", "kgenre", "fit", "--config", config, *place, *words]
        begun = time.perf_counter()
        done = subprocess.run(
            [*command, "--trainer.callbacks+=InputMonitor"], env=environment, capture_output=True, text=True
        )
        seconds = time.perf_counter() - begun
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            return {"not_measured": said[-1][:200] if said else f"ended with code {done.returncode}"}
        run = Path(folder, "job", "version_0")
        with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        epochs = {name: [float(row[name]) for row in rows if row.get(name)] for name in ("val/loss", SECONDS, WAIT)}
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
    versions: dict[str, str] = {}
    for row in result["rows"]:
        versions |= {name: version for name, version in row.get("versions", {}).items() if version}
    head = ("config", "backend", "films", "epochs", "whole job s", "first epoch s", "a later epoch s", "films/s")
    head += ("input wait", "best validation loss", "after epoch", "s until then", "genre frequencies")
    lines = [
        f"{where}{', driver ' + result['driver'] if result['driver'] else ''}; {result['date']}, commit "
        f"{(result['git_commit'] or 'unknown')[:12]}; {result['films']}; "
        + ", ".join(f"{name} {version}" for name, version in sorted(versions.items())),
        "",
        table_row(head),
        table_row(["---", "---", *["---:"] * (len(head) - 2)]),
    ]
    for row in result["rows"]:
        start = [Path(row["config"]).stem, row["backend"]]
        if "not_measured" in row:
            lines.append(table_row([*start, f"not measured: {row['not_measured']}", *[""] * (len(head) - 3)]))
            continue
        best = int(np.argmin(row["val_loss"]))
        later = row["epoch_seconds"][1:] or row["epoch_seconds"]
        lines.append(
            table_row(
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
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the jobs that are missing, write the JSON after each, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data.path", dest="path", metavar="FILMS", help="films with posters")
    parser.add_argument("--samples", type=int, default=2500, help="films to generate, without FILMS")
    parser.add_argument("--configs", nargs="+", default=["configs/poster_cnn_2024.yaml"], metavar="YAML")
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "jax"])
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--output", type=Path, metavar="JSON", help="written after every job; earlier ones are kept")
    parser.add_argument("--render", type=Path, metavar="JSON", help="only print the table of an earlier run")
    options, words = parser.parse_known_args()
    if options.render:
        print(render(json.loads(options.render.read_text())), end="")
        return 0
    made_up = options.path is None
    identity = {
        "cpu": cpu_name(),
        "gpu": gpu_name() if options.device == "gpu" else None,
        "films": f"{options.samples} made-up films, whose losses are meaningless" if made_up else "real films",
    }
    result: dict[str, Any] = {"rows": []} | earlier_results(options.output, identity) | identity
    result |= {
        "benchmark": "whole_job",
        "date": datetime.date.today().isoformat(),
        "git_commit": git_commit(),
        "cores": os.cpu_count(),
        "driver": driver() if options.device == "gpu" else None,
    }
    done = {(row["config"], row["backend"]) for row in result["rows"] if "not_measured" not in row}
    with tempfile.TemporaryDirectory(prefix="whole_job-films-") as films:
        if made_up:
            options.path = f"{films}/films"
            make = [sys.executable, "-m", "kgenre", "data", "sample", options.path, "--films", str(options.samples)]
            subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
        for config in options.configs:
            for backend in options.backends:
                if (config, backend) in done:
                    continue
                row = {"config": config, "backend": backend} | fit(backend, config, options, words)
                print(f"{config} on {backend}: {_outcome(row)}", file=sys.stderr, flush=True)
                others = [old for old in result["rows"] if (old["config"], old["backend"]) != (config, backend)]
                result["rows"] = [*others, row]
                if options.output:
                    options.output.parent.mkdir(parents=True, exist_ok=True)
                    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(render(result), end="")
    return 0


def _outcome(row: dict[str, Any]) -> str:
    if "not_measured" in row:
        return f"not measured: {row['not_measured']}"
    return f"{row['seconds']:.1f} s, {len(row['val_loss'])} epochs, best validation loss {min(row['val_loss']):.4f}"


if __name__ == "__main__":
    sys.exit(main())
