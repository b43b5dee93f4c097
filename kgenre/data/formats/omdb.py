"""Answers of the OMDb API collected in a JSON or CSV file: ``imdbID``, ``Title``, ``Genre`` (commas), ``Plot``.

JSON is a list of films, or an object with one such list. Posters are looked for in the folders beside it, by
``imdbID`` or by the file name in ``Poster``.
"""

from __future__ import annotations

from pathlib import Path

from kgenre.data.film_table import FilmTable
from kgenre.data.formats.genre_cell import joined_genres
from kgenre.data.formats.named_columns import NamedColumns

FILE_NAME = "omdb.json"
COLUMNS = ("imdbid", "title", "genre", "plot")
SUFFIXES = (".csv", ".json")
LAYOUT = f"{FILE_NAME} or .csv (OMDb's imdbID, Title, Year, Genre, Plot)"

_COLUMNS = NamedColumns(
    "the OMDb layout",
    COLUMNS,
    id="imdbid",
    genres="genre",
    genres_in=lambda text: joined_genres(text, ","),
    year="year",
    overview="plot",
    poster="poster",
)
missing_columns = _COLUMNS.missing


def read(path: Path) -> FilmTable:
    """Read the CSV or JSON file at ``path``; see the module for the layout.

    Raises:
        FilmDataError: the file cannot be read, was cut, or has no film.

    Example:
        >>> read(Path("omdb.json")).ids[0]
        'tt0111161'
    """
    return _COLUMNS.read(path)
