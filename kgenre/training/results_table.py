"""The results of an evaluation as one table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def print_results(values: Mapping[str, float], run_dir: Path | None) -> None:
    """Print values named ``stage/metric`` or ``stage/rival/metric`` as a table: a row for each rival, a column a metric.

    A module that logs a baseline as ``test/baseline_frequency/loss`` beside its own ``test/loss`` gets both in one
    column.
    """
    from rich.console import Console
    from rich.table import Table

    rows: dict[str, dict[str, float]] = {}
    for name, value in values.items():
        stage, *rival, metric = name.split("/") if "/" in name else ("", name)
        rows.setdefault(" ".join((stage, *(part.replace("_", " ") for part in rival))), {})[metric] = value
    columns = list(dict.fromkeys(metric for row in rows.values() for metric in row))
    table = Table()
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for label, row in rows.items():
        table.add_row(label, *(f"{row[column]:.4f}" if column in row else "" for column in columns))
    console = Console()
    console.print(table)
    if run_dir is not None:
        console.print(f"Written to {run_dir / 'metrics.json'}", highlight=False, soft_wrap=True)
