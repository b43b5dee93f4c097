"""The ``films.csv`` layout, which the sample films use too: ``id,title,year,overview,genres,poster``.

Genres are joined by ``|`` (or, if no cell has one, by the separator that `genre_separator` finds), or are a Python or
JSON list. ``poster`` is a path relative to the file; it may be empty or absent if the poster is ``posters/<id>.jpg`` or
similar (see ``poster_search``). Only ``id`` and ``genres`` are required, and ``genres`` may be empty. Case, spaces and
underscores in column names are ignored.

Films to predict are in the same kind of table, without the column ``genres``.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from kgenre.data.errors import FilmDataError
from kgenre.data.film_table import FilmTable
from kgenre.data.formats.gathered_films import GatheredFilms
from kgenre.data.formats.genre_cell import LISTS, genre_separator, joined_genres
from kgenre.data.formats.layout import Layout
from kgenre.data.formats.named_columns import year_in
from kgenre.data.genres import SEPARATORS

_NUMBER = re.compile(r"-?\d+(\.\d*)?")  # 18, or 18.0 as pandas writes it in a column with gaps


def read(*files: Path, layout: str = "the films.csv layout") -> FilmTable:
    """Read a CSV file, or one for each part (see the module docstring); ``genre_names`` are those that occur, sorted.

    "N/A" is not a genre.

    Args:
        files: the file or files.
        layout: the layout's name in ``table.source``.

    Raises:
        FilmDataError: a file is not text, not CSV or has no films, or its genres are not joined names or lists.
    """
    films = GatheredFilms[str](*files)
    for film_id, row in films.rows("id"):
        films.add(
            film_id,
            genres=row.get("genres", ""),  # films to predict have none
            title=row.get("title", ""),
            year=year_in(row.get("year", "")),
            overview=row.get("overview", ""),
            poster=row.get("poster", ""),
        )
    separator = genre_separator([cell for cell in films.genres if not cell.startswith(LISTS)])
    if separator not in ("", "|"):
        films.notes.append(f"The genres of {files[0].name} are split at {separator!r}: no cell contains a |.")

    def names_in(cell: str) -> list[str]:
        if (names := _genres_in(cell, separator)) is None:
            film_id = films.ids[films.genres_of.index(films.genres[cell])]
            raise FilmDataError(
                f"{films.name}: the genres of film {film_id} are {cell[:60]!r}. "
                "Write names joined by |, as in Drama|Romance."
            )
        return names

    return films.table(layout, names_in)


def _genres_in(cell: str, separator: str) -> list[str] | None:
    # A ``genres`` column of another table may hold numbers or objects. Read as names, these would silently become
    # thousands of genres.
    names = joined_genres(cell, separator)
    several = not separator and not cell.startswith(LISTS) and any(one in cell for one in SEPARATORS if one != "/")
    return None if several or names is None or any(map(_NUMBER.fullmatch, names)) else names


FILMS = Layout(
    "films.csv",
    "(columns id, title, year, overview, genres joined by |, poster: a relative path)",
    ("id", "genres"),
    read,
)
UNLABELLED = Layout(
    "unlabelled.csv",
    "(columns id, overview, poster: films to predict)",
    ("id", "overview|poster|title"),  # a title will do: posters may be found by id
    partial(read, layout="a table without genres"),
    labelled=False,
)
