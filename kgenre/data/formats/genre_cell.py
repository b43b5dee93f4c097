"""Genres as they stand in a cell of a table: names, what joins them, or a list written as JSON or Python."""

from __future__ import annotations

import ast
import functools
import json
import re
from collections import Counter
from collections.abc import Collection
from typing import Any

# What tables write where a film has no genre, in small letters.
NO_GENRE = frozenset({"", "n/a", "nan", "none", "null", "-", "unknown", "(no genres listed)"})
# Between the names in a list as NumPy writes it: ['Drama' 'War'], which Python would read as one name.
_BETWEEN = re.compile(r"""(?<=['"])\s+(?=['"])""")
# A list of a hundred genres is not one film's; the limit also keeps the parser from deep recursion.
MAX_CHARS = 10_000
SEPARATORS = (";", ",", "/", "；", "、", "，", "،")  # where no cell has a |; the last four: Chinese, Arabic
_NEARLY_ALL = 0.9


def joined_genres(text: str, separators: str) -> list[str] | None:
    """The names in a cell of names joined by any of the characters ``separators``; None for a list as code.

    Example:
        >>> joined_genres("Drama, Crime", ","), joined_genres("N/A", "|")
        (['Drama', 'Crime'], [])
    """
    if text.startswith(("[", "{")):  # read as names it would give genres that train without an error
        return None
    for separator in separators:
        text = text.replace(separator, separators[0])
    names = dict.fromkeys(name.strip(' "') for name in text.split(separators[0]))
    return [name for name in names if is_genre(name)]


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


def is_genre(name: str) -> bool:
    """Whether a name is not one of those that stand for no genre."""
    return name.casefold() not in NO_GENRE


def listed_genres(text: str) -> list[str] | None:
    """The genres in a cell: a list as JSON, Python or NumPy writes it, of names, numbers or objects with a "name".

    None where the cell is something else; [] where it is empty.

    Example:
        >>> listed_genres("[{'id': 18, 'name': 'Drama'}]"), listed_genres('["War"]'), listed_genres("[18]")
        (['Drama'], ['War'], ['18'])
        >>> listed_genres("Carousel Productions")
    """
    if not is_genre(text):
        return []
    if len(text) > MAX_CHARS or not text.startswith(("[", "(")):
        return None
    values = literal(text)
    if not isinstance(values, (list, tuple)):
        return None
    names = [value.get("name") if isinstance(value, dict) else value for value in values]
    if not all(isinstance(name, str) or (isinstance(name, int) and not isinstance(name, bool)) for name in names):
        return None
    distinct = dict.fromkeys(str(name).strip() for name in names)
    return [name for name in distinct if is_genre(name)]


@functools.lru_cache(maxsize=4096)  # films share their lists of genres, and Python's parser is slow
def literal(text: str) -> Any:
    """What a text as JSON, Python or NumPy writes it stands for; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(_BETWEEN.sub(", ", text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
