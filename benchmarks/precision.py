"""Is bf16-mixed as accurate as float32? The same fits in both, seed by seed: the best validation loss of each.

    python benchmarks/precision.py --config configs/poster_cnn_2024.yaml --data.path FILMS --output precision.json
    python benchmarks/precision.py --render precision.json

Unknown options are passed to ``kgenre fit``. Two seeds differ by chance; the two precisions should differ by less.
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
from machine import cpu_name, git_commit

PRECISIONS = ("32-true", "bf16-mixed")


def fit(precision: str, seed: int, words: list[str], folder: Path) -> dict[str, float]:
    """Run one ``kgenre fit``; return its best and last validation loss, its number of epochs and its seconds."""
    name = f"{precision}-{seed}"
    place = ["--trainer.default_root_dir", str(folder), "--trainer.name", name, "--trainer.precision", precision]
    command = [sys.executable, "-m", "kgenre", "fit", *words, *place, "--seed_everything", str(seed)]
    begun = time.time()
    done = subprocess.run([*command, "--data.seed", str(seed)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    with (folder / name / "version_0" / "metrics.csv").open(newline="") as file:
        losses = [float(row["val/loss"]) for row in csv.DictReader(file) if row.get("val/loss")]
    return {"best": min(losses), "last": losses[-1], "epochs": len(losses), "seconds": time.time() - begun}


def render(result: dict[str, Any]) -> str:
    """Return a row for each seed, and the mean difference with its 95% interval over seeds (Student's t)."""
    from scipy.stats import t

    runs = result["runs"]
    seeds = list(runs[PRECISIONS[0]])
    lines = [
        f"{result['cpu']}; {result['date']}, commit {(result['git_commit'] or 'unknown')[:12]}; {result['backend']}; "
        f"{result['config']}, {runs[PRECISIONS[0]][seeds[0]]['epochs']} epochs. Best validation loss.",
        "",
        "| seed | " + " | ".join(PRECISIONS) + " | difference |",
        "|---|---:|---:|---:|",
    ]
    pairs = np.array([[runs[precision][seed]["best"] for precision in PRECISIONS] for seed in seeds])
    apart = pairs[:, 1] - pairs[:, 0]
    for seed, (one, other), difference in zip(seeds, pairs, apart, strict=True):
        lines.append(f"| {seed} | {one:.4f} | {other:.4f} | {difference:+.4f} |")
    half = t.ppf(0.975, len(seeds) - 1) * apart.std(ddof=1) / len(seeds) ** 0.5
    spread = pairs.std(axis=0, ddof=1)
    lines.append(f"| mean | {pairs[:, 0].mean():.4f} | {pairs[:, 1].mean():.4f} | {apart.mean():+.4f} ± {half:.4f} |")
    lines.append(f"| standard deviation over seeds | {spread[0]:.4f} | {spread[1]:.4f} | |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the fits that are not in ``--output`` yet, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--config", default="configs/poster_cnn_2024.yaml")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output", type=Path, metavar="JSON", help="written after every run; earlier runs are kept")
    parser.add_argument("--render", type=Path, metavar="JSON", help="only print the table of an earlier run")
    options, words = parser.parse_known_args()
    if options.render:
        print(render(json.loads(options.render.read_text())), end="")
        return 0
    if options.seeds < 2:
        parser.error("--seeds is at least 2.")
    identity = {
        "cpu": cpu_name(),
        "backend": os.environ.get("KERAS_BACKEND", "tensorflow"),
        "config": Path(options.config).name,
    }
    runs: dict[str, Any] = {"runs": {precision: {} for precision in PRECISIONS}}
    result = runs | earlier_results(options.output, identity) | identity
    result |= {"benchmark": "precision", "date": datetime.date.today().isoformat(), "git_commit": git_commit()}
    with tempfile.TemporaryDirectory(prefix="precision-") as folder:
        for seed in range(options.seeds):
            for precision in PRECISIONS:
                if str(seed) in result["runs"][precision]:
                    continue
                found = fit(precision, seed, ["--config", options.config, *words], Path(folder))
                result["runs"][precision][str(seed)] = found
                print(f"{precision}, seed {seed}: {found}", file=sys.stderr, flush=True)
                if options.output:
                    options.output.parent.mkdir(parents=True, exist_ok=True)
                    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(render(result), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
