"""The results of a run as one table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# Metrics of the run, not of the model: not in the table.
_OMITTED = ("throughput/", "device/", "lr-")
_NAME, _NUMBER = 12, 9  # minimum widths of the name column and of a number column, with borders


def print_results(values: Mapping[str, float], folder: Path | None = None, when: str = "") -> None:
    """Print values named ``stage/metric`` or ``stage/rival/metric``: a row for each metric, a column for each rival.

    A baseline's loss, logged as ``test/baseline_frequency/loss``, appears next to the module's own ``test/loss``.
    Values of single steps are left out if the epoch's values are there.

    Args:
        values: metrics by name.
        folder: the folder of ``metrics.json``, printed below the table; None: not printed.
        when: a note below the headings of the module's own columns, such as "last epoch"; "": none.
    """
    from rich.console import Console
    from rich.table import Table

    values = {
        name: value
        for name, value in values.items()
        if not name.startswith(_OMITTED)
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
        # One word per line: on a narrow terminal a wide heading would leave no room for the names of the metrics.
        columns.setdefault("\n".join(part.replace("_", "\n") for part in rival) or stage, {})[metric] = value
    # The module's own columns, named by the stage alone, come first, whatever was logged first.
    own = {name.split("/")[0] for name in values}
    columns = dict(sorted(columns.items(), key=lambda column: column[0] not in own))
    console = Console(markup=False, emoji=False)  # "f1[macro]" is a name
    table = Table()
    for heading in ("", *columns):
        under = f"\n{when}" if when and heading in own else ""
        # Wrap long names: several could look alike when cut off.
        table.add_column(heading + under, justify="right" if heading else "left", overflow="fold")
    names = [metric for column in columns.values() for metric in column]
    for metric in dict.fromkeys(names):
        table.add_row(metric, *(formatted(column[metric]) if metric in column else "" for column in columns.values()))
    # On a narrower console rich would break numbers and finally drop columns; let the terminal wrap lines instead.
    console.width = max(console.width, _NAME + _NUMBER * len(columns))
    console.print(table)
    if folder is not None:
        print(f"Written to {folder / 'metrics.json'}", flush=True)


def formatted(value: float) -> str:
    """Return a value with four decimals, so that lines and columns align, or with four digits if that suits it better.

    Example:
        >>> formatted(0.34), formatted(0.000123)
        ('0.3400', '0.000123')
    """
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.4g}"
