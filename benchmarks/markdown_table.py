"""Markdown tables: rows, cells with an interval, and a selection of rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table_row(cells: Iterable[object]) -> str:
    """Return a row of a table.

    Example:
        >>> table_row(["jax", 64])
        '| jax | 64 |'
    """
    return f"| {' | '.join(map(str, cells))} |"


def table(head: Sequence[str], rows: Iterable[Sequence[object]], texts: int = 1) -> list[str]:
    """Return the lines of a table: ``texts`` columns of text, then columns of numbers; short rows are filled.

    Example:
        >>> table(["backend", "ms"], [["jax", 3]])
        ['| backend | ms |', '| --- | ---: |', '| jax | 3 |']
    """
    rule = ["---"] * texts + ["---:"] * (len(head) - texts)
    return [table_row(row) for row in (head, rule, *([*row, *[""] * (len(head) - len(row))] for row in rows))]


def with_interval(ratio: Sequence[float] | None, digits: int = 2) -> str:
    """Return a value with its interval, "" for None.

    Example:
        >>> with_interval((1.2, 1.0, 1.5))
        '1.20 [1.00, 1.50]'
    """
    if not ratio:
        return ""
    value, low, high = (f"{number:.{digits}f}" for number in ratio)
    return f"{value} [{low}, {high}]"


def with_quartiles(median: float, quartiles: Sequence[float], form: str = ",.0f") -> str:
    """Return a median with its quartiles.

    Example:
        >>> with_quartiles(1234, (1200, 1300))
        '1,234 (1,200-1,300)'
    """
    low, high = quartiles
    return f"{median:{form}} ({low:{form}}-{high:{form}})"


def select_rows(text: str, pattern: str | None) -> str:
    r"""Return Markdown with only those rows of its tables in which ``pattern``, a regular expression, is found.

    A table without such a row is left out.

    Example:
        >>> print(select_rows("Times:\n\n| n | s |\n|---|---|\n| a | 1 |\n| b | 2 |", "b"))
        Times:
        <BLANKLINE>
        | n | s |
        |---|---|
        | b | 2 |
    """
    if pattern is None:
        return text
    kept, head, place = [], [], 0  # the place of a line in its table: the head is 1, the rule below it 2
    for line in text.splitlines(keepends=True):
        place = place + 1 if line.startswith("|") else 0
        if place in (1, 2):
            head.append(line)
        elif place == 0 or re.search(pattern, line):
            kept += [*(head if place else ()), line]
            head = []
    return "".join(kept)
