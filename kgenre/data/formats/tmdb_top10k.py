"""TMDB's top ten thousand, ``top10K-TMDB-movies.csv``: ``genre`` is joined by commas.

Posters are looked for in the folders beside it, by ``id``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kgenre.data.film_table import FilmTable
from kgenre.data.formats.genre_cell import joined_genres
from kgenre.data.formats.named_columns import NamedColumns

FILE_NAME = "top10K-TMDB-movies.csv"
COLUMNS = ("id", "title", "genre", "overview")
SUFFIXES = (".csv",)
LAYOUT = f"{FILE_NAME} (columns id, title, genre joined by commas, overview, release_date)"

_COLUMNS = NamedColumns(
    "the layout of TMDB's top 10k",
    COLUMNS,
    id="id",
    genres="genre",
    genres_in=lambda text: joined_genres(text, ","),
    year="releasedate",
    overview="overview",
)


def missing_columns(header: Sequence[str]) -> list[str]:
    """The columns of this layout that a header lacks; "Id", "Genre" and "Overview" are the coursework's."""
    return [name for name in COLUMNS if name not in header]


def read(path: Path) -> FilmTable:
    """Read the CSV file at ``path``; see the module for the layout.

    Raises:
        FilmDataError: the file cannot be read, was cut, or has no film.

    Example:
        >>> read(Path("top10K-TMDB-movies.csv")).genres_of(0)
        ('Crime', 'Drama')
    """
    return _COLUMNS.read(path, why_no_film=_why_no_film)


def _why_no_film(row: dict[str, str]) -> str:
    # Copies of this file feed a list to choose from; its first entry is "Choose A Movie".
    has_more = any(text for name, text in row.items() if name not in ("id", "title"))
    return "" if has_more else f"{row['title']!r} has nothing but a title"
