"""Parse the genres in a table's cell: names joined by a separator, or a list written as JSON, Python or NumPy."""

from __future__ import annotations

import ast
import functools
import json
import re
from collections import Counter
from collections.abc import Collection
from typing import Any

from kgenre.data.genres import SEPARATORS

# What tables write for a film without genres, in lower case.
NO_GENRE = frozenset({"", "n/a", "nan", "none", "null", "-", "unknown", "(no genres listed)"})
# The gap between names in a list as NumPy writes it, ['Drama' 'War'], which Python would read as one name.
_BETWEEN = re.compile(r"""(?<=['"])\s+(?=['"])""")
# No film has so many genres; the limit also keeps the parser from deep recursion.
MAX_CHARS = 10_000
LISTS = ("[", "(")
_NEARLY_ALL = 0.9


def joined_genres(text: str, separators: str = "") -> list[str] | None:
    """The names in a cell, split at | and at each of the characters ``separators``, or those of a list.

    None for a list of something else, and for an object.

    Example:
        >>> joined_genres("Drama, Crime", ","), joined_genres("N/A"), joined_genres("['War']", ",")
        (['Drama', 'Crime'], [], ['War'])
    """
    if text.startswith(LISTS):  # split as names, a list would silently become wrong genres
        return listed_genres(text)
    if text.startswith("{"):
        return None
    for separator in separators:
        text = text.replace(separator, "|")
    names = dict.fromkeys(name.strip(' "') for name in text.split("|"))
    return [name for name in names if is_genre(name)]


def genre_separator(cells: Collection[str]) -> str:
    """The character that joins genres; "" if each cell seems to be a single genre.

    ``|`` if any cell has it. Otherwise the first of SEPARATORS for which at least nine in ten of the cells that contain
    it split into names that all occur in other cells too: "Sci-Fi / Fantasy" is a single genre unless both "Sci-Fi" and
    "Fantasy" occur in another cell.

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
        genres = {name for name in count if count[name] > 1}
        if joined and sum(some <= genres for some in joined) >= _NEARLY_ALL * len(joined):
            return separator
    return ""


def is_genre(name: str) -> bool:
    """Whether a name is a genre rather than a placeholder such as "N/A"."""
    return name.casefold() not in NO_GENRE


def listed_genres(text: str) -> list[str] | None:
    """The genres in a JSON, Python or NumPy list of names, numbers or objects with a "name".

    None if the cell is something else; [] if it is empty or a placeholder such as "N/A".

    Example:
        >>> listed_genres("[{'id': 18, 'name': 'Drama'}]"), listed_genres('["War"]'), listed_genres("[18]")
        (['Drama'], ['War'], ['18'])
        >>> listed_genres("Carousel Productions")
    """
    if not is_genre(text):
        return []
    if len(text) > MAX_CHARS or not text.startswith(LISTS):
        return None
    values = literal(text)
    if not isinstance(values, (list, tuple)):
        return None
    names = [value.get("name") if isinstance(value, dict) else value for value in values]
    if not all(isinstance(name, str) or (isinstance(name, int) and not isinstance(name, bool)) for name in names):
        return None
    # A list of one text with all names, ['Drama|War']: predictions are written as names joined by |, too.
    distinct = dict.fromkeys(part.strip() for name in names for part in str(name).split("|"))
    return [name for name in distinct if is_genre(name)]


@functools.lru_cache(maxsize=4096)  # films share their lists of genres, and Python's parser is slow
def literal(text: str) -> Any:
    """The value of a JSON, Python or NumPy literal; None if the text is not one."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(_BETWEEN.sub(", ", text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
