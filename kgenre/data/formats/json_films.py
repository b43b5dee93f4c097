"""A list of films with ``title`` or ``id`` and ``genres`` (a list, or joined by ``|``): JSON, JSONL or Parquet.

``id``, ``year`` and one of ``overview``, ``storyline``, ``plot``, ``extract`` or ``description`` are optional. A film
without an ``id`` is named by title and year. Posters are looked for in the folders beside it, by the
id or by the file name in ``poster``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kgenre.data.film_table import FilmTable
from kgenre.data.formats.csv_rows import plain
from kgenre.data.formats.genre_cell import joined_genres, listed_genres
from kgenre.data.formats.named_columns import NamedColumns, Rows

FILE_NAME = "films.json"
COLUMNS = ("title", "genres")
SUFFIXES = (".json", ".jsonl", ".ndjson", ".parquet")
LAYOUT = f"{FILE_NAME} (a list of objects with title, genres as a list, year, overview)"
OVERVIEWS = ("overview", "storyline", "plot", "extract", "description")


def _genres_in(text: str) -> list[str] | None:
    if text.startswith(("[", "(")):
        return listed_genres(text)
    return None if "," in text else joined_genres(text, "|")  # "Drama, War" would be one genre


_COLUMNS = NamedColumns(
    "the layout of JSON lists",
    ("genres",),
    id="id",
    genres="genres",
    genres_in=_genres_in,
    year="year",
    overview="overview",
    poster="poster",
)


def missing_columns(header: Sequence[str]) -> list[str]:
    """The names that the first film lacks."""
    missing = _COLUMNS.missing(header)
    return missing if {"id", "title"} & set(map(plain, header)) else ["title", *missing]


def read(path: Path) -> FilmTable:
    """Read the JSON file at ``path``; see the module for the layout.

    Raises:
        FilmDataError: not JSON, or no film in it.

    Example:
        >>> read(Path("films.json")).ids[0]
        'Alien (1979)'
    """
    return _COLUMNS.read(path, _with_ids_and_overviews)


def _with_ids_and_overviews(rows: Rows) -> Rows:
    for number, row in rows:
        if row is not None:
            title = row.get("title", "")
            named = f"{title} ({row['year']})" if row.get("year") else title
            overview = next((row[name] for name in OVERVIEWS if row.get(name)), "")
            row = {**row, "id": row.get("id") or named, "overview": overview}
        yield number, row
