"""A JSON list of films with ``title`` and ``genres`` (a list of names), as many small sets and tutorials have it.

``id``, ``year`` and one of ``overview``, ``storyline``, ``plot``, ``extract`` or ``description`` are optional. A film
without an ``id`` is named by title and year. Posters are looked for beside it in ``Images/`` or ``posters/``, by the
id or by the file name in ``poster``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kgenre.data.film_table import FilmTable
from kgenre.data.formats.genre_cell import listed_genres
from kgenre.data.formats.named_columns import NamedColumns, Rows

FILE_NAME = "films.json"
COLUMNS = ("title", "genres")
SUFFIXES = (".json",)
LAYOUT = f"{FILE_NAME} (a list of objects with title, genres as a list, year, overview)"
OVERVIEWS = ("overview", "storyline", "plot", "extract", "description")

_COLUMNS = NamedColumns(
    "the layout of JSON lists",
    COLUMNS,
    id="id",
    genres="genres",
    genres_in=listed_genres,
    year="year",
    overview="overview",
    poster="poster",
)


def missing_columns(header: Sequence[str]) -> list[str]:
    """The names that the first film lacks."""
    return _COLUMNS.missing(header)


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
            named = f"{row['title']} ({row['year']})" if row.get("year") else row["title"]
            overview = next((row[name] for name in OVERVIEWS if row.get(name)), "")
            row = {**row, "id": row.get("id") or named, "overview": overview}
        yield number, row
