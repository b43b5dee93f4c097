"""TMDB 5000, ``tmdb_5000_movies.csv``: ``genres`` is a JSON list of ``{"id": 18, "name": "Drama"}``.

Posters are looked for in the folders beside it, by ``id``. ``overview`` may be absent; copies whose
names and titles end in a stray ``$`` are read without it.
"""

from __future__ import annotations

from pathlib import Path

from kgenre.data.film_table import FilmTable
from kgenre.data.formats.genre_cell import listed_genres
from kgenre.data.formats.named_columns import NamedColumns, Rows

FILE_NAME = "tmdb_5000_movies.csv"
COLUMNS = ("id", "genres", "keywords", "originaltitle", "releasedate")
SUFFIXES = (".csv",)
LAYOUT = f"{FILE_NAME} (columns id, original_title, overview, genres as JSON, keywords, release_date)"

_COLUMNS = NamedColumns(
    "the TMDB 5000 layout",
    COLUMNS,
    id="id",
    genres="genres",
    genres_in=listed_genres,
    year="releasedate",
    overview="overview",
)
missing_columns = _COLUMNS.missing


def read(path: Path) -> FilmTable:
    """Read the CSV file at ``path``; see the module for the layout.

    Raises:
        FilmDataError: the file cannot be read, was cut, or has no film.

    Example:
        >>> read(Path("tmdb_5000_movies.csv")).genre_names[:2]
        ('Action', 'Adventure')
    """
    return _COLUMNS.read(path, _without_dollars)


def _without_dollars(rows: Rows) -> Rows:
    for number, row in rows:
        yield number, row and {**row, "title": row.get("title", "").removesuffix("$")}
