"""A row of a Markdown table."""

from __future__ import annotations

from collections.abc import Iterable


def table_row(cells: Iterable[object]) -> str:
    """Return a row of a Markdown table.

    Example:
        >>> table_row(["jax", 64])
        '| jax | 64 |'
    """
    return f"| {' | '.join(map(str, cells))} |"
