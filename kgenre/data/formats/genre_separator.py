"""What joins the genres in the cells of a column, where its layout leaves that open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

SEPARATORS = (";", ",", "/", "；", "、", "，", "،")  # where no cell has a |; the last four: Chinese, Arabic
_NEARLY_ALL = 0.9


def genre_separator(cells: Collection[str]) -> str:
    """The character that joins genres; "" where each cell seems to be one genre.

    ``|`` where any cell has it. Else the first of SEPARATORS at which nine in ten of the cells that have
    it split into names that each stand in another cell too. So "Sci-Fi / Fantasy" is one genre where no other cell has
    "Sci-Fi" or none has "Fantasy".

    Args:
        cells: the distinct cells.

    Example:
        >>> genre_separator(["Drama; War", "War", "Drama"]), genre_separator(["Drama", "Sci-Fi / Fantasy", "Fantasy"])
        (';', '')
    """
    if any("|" in cell for cell in cells):
        return "|"
    for separator in SEPARATORS:
        names = [{name.strip() for name in cell.split(separator)} for cell in cells]
        count = Counter(name for some in names for name in some)
        joined = [some for cell, some in zip(cells, names, strict=True) if separator in cell]
        known = sum(all(count[name] > 1 for name in some) for some in joined)
        if joined and known >= _NEARLY_ALL * len(joined):
            return separator
    return ""
