"""Films to predict, in a table as ``films.csv`` without the column ``genres``.

It has ``id``, and ``overview`` or ``poster``, or ``title`` where posters are named by id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kgenre.data.film_table import FilmTable
from kgenre.data.formats import films_csv
from kgenre.data.formats.csv_rows import plain

FILE_NAME = "unlabelled.csv"
COLUMNS = ("id", "overview")
SUFFIXES = (".csv",)
LAYOUT = f"{FILE_NAME} (columns id, overview, poster: films to predict)"
_INSTEAD = ("overview", "poster", "title")  # one of them


def missing_columns(header: Sequence[str]) -> list[str]:
    """The columns of this layout that a header lacks; a table with genres under another name is none of it."""
    if any("genre" in name.casefold() for name in header):
        return list(COLUMNS)
    has = {plain(name) for name in header}
    missing = [] if "id" in has else ["id"]
    return missing if set(_INSTEAD) & has else [*missing, "overview"]


def read(path: Path) -> FilmTable:
    """Read the CSV file at ``path``; no film has a genre.

    Raises:
        FilmDataError: not text, not CSV, or no film in it.

    Example:
        >>> read(Path("unlabelled.csv")).genre_names
        ()
    """
    return replace(films_csv.read(path), source=f"a table without a column genres, {path}")
