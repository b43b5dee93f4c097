r"""Is bf16-mixed as accurate as float32? The same fits in both, seed by seed: the best validation loss of each.

    KERAS_BACKEND=tensorflow python benchmarks/precision.py --config configs/poster_cnn_2024.yaml --data.path FILMS \
        --output precision.json       # ten fits
    python benchmarks/precision.py --render precision.json

Two seeds differ by chance; the two precisions should differ by less. The mean difference has Student's 95 % interval
over seeds. Options that this script does not know are passed to ``kgenre fit`` (``--trainer.max_epochs 10``).
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from kgenre_fit import fit, logged
from machine import cpu_name
from markdown_table import table_row
from result_file import about, earlier_results, origin, parser_for, print_rendered, say, write

PRECISIONS = ("32-true", "bf16-mixed")


def losses(precision: str, seed: int, words: list[str], folder: Path) -> dict[str, float]:
    """Run one ``kgenre fit``; return its best and last validation loss, its number of epochs and its seconds."""
    begun, seeds = time.time(), ["--seed_everything", seed, "--data.seed", seed]
    run = fit(*words, "--trainer.precision", precision, *seeds, root=folder, name=f"{precision}-{seed}")
    found = logged(run, "val/loss")["val/loss"]
    return {"best": min(found), "last": found[-1], "epochs": len(found), "seconds": time.time() - begun}


def render(result: dict[str, Any]) -> str:
    """Return a row for each seed, and the mean difference with its 95% interval over seeds (Student's t)."""
    from scipy.stats import t

    runs = result["runs"]
    seeds = list(runs[PRECISIONS[0]])
    lines = [
        f"{origin(result, result['cpu'])}; {result['backend']}; {result['config']}, "
        f"{runs[PRECISIONS[0]][seeds[0]]['epochs']} epochs. Best validation loss.",
        "",
        table_row(["seed", *PRECISIONS, "difference"]),
        "|---|---:|---:|---:|",
    ]
    pairs = np.array([[runs[precision][seed]["best"] for precision in PRECISIONS] for seed in seeds])
    apart = pairs[:, 1] - pairs[:, 0]
    for seed, (one, other), difference in zip(seeds, pairs, apart, strict=True):
        lines.append(table_row([seed, f"{one:.4f}", f"{other:.4f}", f"{difference:+.4f}"]))
    half = t.ppf(0.975, len(seeds) - 1) * apart.std(ddof=1) / len(seeds) ** 0.5
    spread = pairs.std(axis=0, ddof=1)
    lines.append(f"| mean | {pairs[:, 0].mean():.4f} | {pairs[:, 1].mean():.4f} | {apart.mean():+.4f} ± {half:.4f} |")
    lines.append(f"| standard deviation over seeds | {spread[0]:.4f} | {spread[1]:.4f} | |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the fits that are not in ``--output`` yet, print the table."""
    parser = parser_for(__doc__)
    parser.add_argument("--config", default="configs/poster_cnn_2024.yaml")
    parser.add_argument("--seeds", type=int, default=5)
    options, words = parser.parse_known_args()
    if print_rendered(options, render):
        return 0
    if options.seeds < 2:
        parser.error("--seeds is at least 2.")
    backend, config = os.environ.get("KERAS_BACKEND", "tensorflow"), Path(options.config).name
    identity = {"cpu": cpu_name(), "backend": backend, "config": config}
    runs: dict[str, Any] = {"runs": {precision: {} for precision in PRECISIONS}}
    result = runs | earlier_results(options.output, identity) | identity | about("precision")
    with tempfile.TemporaryDirectory(prefix="precision-") as folder:
        for seed in range(options.seeds):
            for precision in PRECISIONS:
                if str(seed) in result["runs"][precision]:
                    continue
                found = losses(precision, seed, ["--config", options.config, *words], Path(folder))
                result["runs"][precision][str(seed)] = found
                say(f"{precision}, seed {seed}: {found}")
                write(options.output, result)
    print(render(result), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
