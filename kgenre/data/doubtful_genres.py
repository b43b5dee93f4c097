"""Genres that seem not to be what they should: a table may join them in a way that is not known here."""

from __future__ import annotations

import re

import numpy as np

from kgenre.data.film_table import FilmTable
from kgenre.data.formats.genre_cell import SEPARATORS

_SEPARATOR = re.compile(f"[|{''.join(SEPARATORS)}]")
_LEAST_NAMES = 3
_LEAST_FILMS = 100


def doubts_about_genres(table: FilmTable) -> tuple[str, ...]:
    """A line where half of the genres have a separator in their names, or where there is a genre for each three films.

    Example:
        >>> doubts_about_genres(read_films("films"))
        ()
    """
    names = [table.genre_names[i] for i in np.flatnonzero(table.genres.any(axis=0))]
    joined = [name for name in names if _SEPARATOR.search(name)]
    if len(joined) >= max(_LEAST_NAMES, len(names) / 2):
        return (
            f"{len(joined)} of {len(names)} genres look like several, such as {joined[0][:60]!r}: "
            "join names by | in the table.",
        )
    if len(table) >= _LEAST_FILMS and 3 * len(names) > len(table):
        return (
            f"{len(names)} genres for {len(table)} films, such as {names[0][:60]!r}: is this the column of genres?",
        )
    return ()
