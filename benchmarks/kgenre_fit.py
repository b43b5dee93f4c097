"""``kgenre fit`` as a user runs it, in a process of its own, and the values that it has logged."""

from __future__ import annotations

import csv
from pathlib import Path

from processes import run_python


def fit(*arguments: object, root: Path, name: str, environment: dict[str, str] | None = None) -> Path:
    """Run ``kgenre fit`` and return the folder of the run. Raises as `run_python`."""
    place = ["--trainer.default_root_dir", root, "--trainer.name", name]
    run_python("-m", "kgenre", "fit", *arguments, *place, environment=environment)
    return root / name / "version_0"


def logged(run: Path, *names: str) -> dict[str, list[float]]:
    """Return the values of ``metrics.csv`` by name, in order; under ``name/step`` the steps of a name."""
    found: dict[str, list[float]] = {}
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for name in names:
                if row.get(name):
                    found.setdefault(name, []).append(float(row[name]))
                    found.setdefault(f"{name}/step", []).append(int(row["step"]))
    return found
