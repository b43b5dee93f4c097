"""Kaggle's ``IMDB-Movie-Data.csv`` of 1,000 films: ``Genre`` joined by commas, ``Description``, ``Year``.

A film's id is its ``Rank``. Posters are looked for in the folders beside it, by that id.
"""

from __future__ import annotations

from pathlib import Path

from kgenre.data.film_table import FilmTable
from kgenre.data.formats.genre_cell import joined_genres
from kgenre.data.formats.named_columns import NamedColumns

FILE_NAME = "IMDB-Movie-Data.csv"
COLUMNS = ("rank", "title", "genre", "description")
SUFFIXES = (".csv",)
LAYOUT = f"{FILE_NAME} (columns Rank, Title, Genre joined by commas, Description, Year)"

_COLUMNS = NamedColumns(
    "the IMDB-Movie-Data layout",
    COLUMNS,
    id="rank",
    genres="genre",
    genres_in=lambda text: joined_genres(text, ","),
    year="year",
    overview="description",
)
missing_columns = _COLUMNS.missing


def read(path: Path) -> FilmTable:
    """Read the CSV file at ``path``; see the module for the layout.

    Raises:
        FilmDataError: the file cannot be read, was cut, or has no film.

    Example:
        >>> read(Path("IMDB-Movie-Data.csv")).titles[0]
        'Guardians of the Galaxy'
    """
    return _COLUMNS.read(path)
