"""Kaggle's ``MovieGenre.csv``: ``imdbId``, ``Title`` with the year, ``Genre`` joined by ``|``, ``Poster`` (a link).

Posters are looked for in the folders beside it, by the id (114709 or tt0114709) or by the file name in
``Poster``. Columns may also be named as in ``imdb_id``; columns of 0 and 1 are not read.
"""

from __future__ import annotations

from pathlib import Path

from kgenre.data.film_table import FilmTable
from kgenre.data.formats.genre_cell import joined_genres
from kgenre.data.formats.named_columns import NamedColumns

FILE_NAME = "MovieGenre.csv"
COLUMNS = ("imdbid", "genre", "poster")
SUFFIXES = (".csv",)
LAYOUT = f"{FILE_NAME} (columns imdbId, Title, Genre, Poster) with Images/<imdbId>.jpg"

_COLUMNS = NamedColumns(
    "the MovieGenre layout",
    COLUMNS,
    id="imdbid",
    genres="genre",
    genres_in=lambda text: joined_genres(text, "|"),
    year="title",
    poster="poster",
)
missing_columns = _COLUMNS.missing


def read(path: Path) -> FilmTable:
    """Read the CSV file at ``path``; see the module for the layout. Films have no overviews.

    Raises:
        FilmDataError: the file cannot be read, was cut, or has no film.

    Example:
        >>> read(Path("MovieGenre.csv")).titles[0]
        'Toy Story'
    """
    return _COLUMNS.read(path)
