"""The results of an evaluation as one table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def print_results(values: Mapping[str, float], run_dir: Path | None) -> None:
    """Print values named ``stage/metric`` or ``stage/rival/metric``: a row for each metric, a column for each rival.

    What a module logs for a baseline as ``test/baseline_frequency/loss`` stands beside its own ``test/loss``.
    """
    from rich.console import Console
    from rich.table import Table

    columns: dict[str, dict[str, float]] = {}
    for name, value in values.items():
        stage, *rival, metric = name.split("/") if "/" in name else ("", name)
        columns.setdefault(" ".join(part.replace("_", " ") for part in rival) or stage, {})[metric] = value
    # The model's own values, named by the stage alone, come first whatever was logged first.
    columns = dict(sorted(columns.items(), key=lambda column: column[0] not in {name.split("/")[0] for name in values}))
    table = Table()
    for heading in ("", *columns):
        table.add_column(heading, justify="right" if heading else "left")
    for metric in dict.fromkeys(metric for column in columns.values() for metric in column):
        table.add_row(metric, *(f"{c[metric]:.4f}" if metric in c else "" for c in columns.values()))
    console = Console()
    console.print(table)
    if run_dir is not None:
        console.print(f"Written to {run_dir / 'metrics.json'}", highlight=False, soft_wrap=True)
