"""The results of a run as one table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# What tells of the run and not of the model.
_ASIDE = ("throughput/", "device/", "lr-")
_NAME, _NUMBER = 12, 9  # the least width of the column of names, and of one of numbers, with their borders


def print_results(values: Mapping[str, float], folder: Path | None = None, when: str = "") -> None:
    """Print values named ``stage/metric`` or ``stage/rival/metric``: a row for each metric, a column for each rival.

    What a module logs for a baseline as ``test/baseline_frequency/loss`` stands beside its own ``test/loss``. Values of
    single steps are left out where those of the epoch are there.

    Args:
        values: by name.
        folder: where ``metrics.json`` is, to be named below.
        when: what the model's own values are of, if that is not plain: below their headings.
    """
    from rich.console import Console
    from rich.table import Table

    values = {
        name: value
        for name, value in values.items()
        if not name.startswith(_ASIDE)
        and name.removesuffix("_step") not in values.keys() - {name}
        and name.removesuffix("_epoch") not in values.keys() - {name}
    }
    if not values:
        return
    columns: dict[str, dict[str, float]] = {}
    for name, value in values.items():
        name, of_a_set, number = name.partition("/dataloader_idx_")
        stage, *rival, metric = name.split("/") if "/" in name else ("", name)
        metric += of_a_set + number
        # Words below each other: a wide heading would leave a narrow terminal no room for the names of the metrics.
        columns.setdefault("\n".join(part.replace("_", "\n") for part in rival) or stage, {})[metric] = value
    # The model's own values, named by the stage alone, come first whatever was logged first.
    own = {name.split("/")[0] for name in values}
    columns = dict(sorted(columns.items(), key=lambda column: column[0] not in own))
    console = Console()
    table = Table()
    for heading in ("", *columns):
        under = f"\n{when}" if when and heading in own else ""
        # A name that is cut off could be any of several: it goes on in the next line.
        table.add_column(heading + under, justify="right" if heading else "left", overflow="fold")
    names = [metric for column in columns.values() for metric in column]
    for metric in dict.fromkeys(names):
        table.add_row(metric, *(_number(column[metric]) if metric in column else "" for column in columns.values()))
    # Below that numbers would be broken, and at last columns left out: it is the lines that the terminal breaks then.
    console.width = max(console.width, _NAME + _NUMBER * len(columns))
    console.print(table)
    if folder is not None:
        print(f"Written to {folder / 'metrics.json'}", flush=True)


def _number(value: float) -> str:
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.4g}"
