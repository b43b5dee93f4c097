"""The Movies Dataset's ``movies_metadata.csv``: ``genres`` is a Python list of ``{'id': 18, 'name': 'Drama'}``.

Posters are looked for in the folders beside it, by ``id``, ``imdb_id`` or the name in
``poster_path``. Some rows of the published file are shifted by a line end: they are left out, with the reason.
"""

from __future__ import annotations

from pathlib import Path

from kgenre.data.film_table import FilmTable
from kgenre.data.formats.genre_cell import listed_genres
from kgenre.data.formats.named_columns import NamedColumns

FILE_NAME = "movies_metadata.csv"
COLUMNS = ("id", "genres", "imdbid", "originaltitle", "releasedate")
SUFFIXES = (".csv",)
LAYOUT = f"{FILE_NAME} (columns id, imdb_id, original_title, overview, genres as a Python list, release_date)"

_COLUMNS = NamedColumns(
    "the movies_metadata.csv layout",
    COLUMNS,
    id="id",
    genres="genres",
    genres_in=listed_genres,
    year="releasedate",
    overview="overview",
    poster="posterpath",
    other_ids=("imdbid",),
)
missing_columns = _COLUMNS.missing


def read(path: Path) -> FilmTable:
    """Read the CSV file at ``path``; see the module for the layout.

    Raises:
        FilmDataError: the file cannot be read, was cut, or has no film.

    Example:
        >>> read(Path("movies_metadata.csv")).genres_of(0)
        ('Animation', 'Comedy', 'Family')
    """
    return _COLUMNS.read(path)
