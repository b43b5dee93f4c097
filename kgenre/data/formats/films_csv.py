"""The plain layout, and the sample set's: ``films.csv`` with ``id,title,year,overview,genres,poster``.

Genres are joined by ``|``; ``poster`` is a path relative to the file, or empty or absent where the poster is
``posters/<id>.jpg`` or the like; see ``poster_search``. Only ``id`` and ``genres`` are required (``genres`` may be
empty).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from kgenre.data.errors import FilmDataError
from kgenre.data.film_table import FilmTable
from kgenre.data.formats.film_rows import FilmRows
from kgenre.data.formats.gathered_films import GatheredFilms

FILE_NAME = "films.csv"
COLUMNS = ("id", "genres")
SUFFIXES = (".csv",)
LAYOUT = f"{FILE_NAME} (columns id, title, year, overview, genres joined by |, poster: a relative path)"


def missing_columns(header: Sequence[str]) -> list[str]:
    """The required columns of this layout that a header lacks."""
    return [name for name in COLUMNS if name not in header]


def read(path: Path) -> FilmTable:
    """Read the CSV file at ``path``; see the module for the layout.

    ``genre_names`` are the genres that occur, sorted; "N/A" is not a genre.

    Raises:
        FilmDataError: not text, not CSV, no film in it, or genres that are not joined by ``|``.
    """
    rows, films = FilmRows(path, id_column="id"), GatheredFilms()
    joined_by_commas: tuple[str, str] | None = None  # the first film
    some_bar = False
    for film_id, row in rows:
        text = row["genres"]
        # Other people's tables have columns of the same names with lists or JSON in them; read as names they would
        # give thousands of genres that train without an error.
        if text.startswith(("[", "{")) or text.isdecimal():
            _refuse(path, film_id, text)
        some_bar = some_bar or "|" in text
        if "," in text and joined_by_commas is None:
            joined_by_commas = film_id, text
        genres = dict.fromkeys(g for g in map(str.strip, text.split("|")) if g not in ("", "N/A"))
        films.add(
            film_id,
            genres=tuple(genres),
            title=row.get("title", ""),
            year=_year(row.get("year", "")),
            overview=row.get("overview", ""),
            poster=row.get("poster", ""),
        )
    rows.check_some(len(films))
    if joined_by_commas and not some_bar:
        _refuse(path, *joined_by_commas)
    source = f"the films.csv layout, {path}"
    return films.table(path.parent, films.genre_names(), source=source, left_out=tuple(rows.left_out), notes=rows.notes)


def _refuse(path: Path, film_id: str, text: str) -> NoReturn:
    raise FilmDataError(
        f"{path}: the genres of film {film_id} are {text[:60]!r}. Give names joined by |, as in Drama|Romance."
    )


def _year(text: str) -> int | None:
    # pandas writes a column of years with gaps as 1983.0
    digits = text.removesuffix(".0")
    return int(digits) if digits.isdecimal() and len(digits) <= 4 else None
