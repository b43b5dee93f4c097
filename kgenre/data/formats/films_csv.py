"""The plain layout, and the sample set's: ``films.csv`` with ``id,title,year,overview,genres,poster``.

Genres are joined by ``|``; ``poster`` is a path relative to the file, or empty or absent where the poster is
``Images/<id>.jpg`` or ``posters/<id>.jpg``. Only ``id`` and ``genres`` are required (``genres`` may be
empty).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kgenre.data.errors import FilmDataError
from kgenre.data.film_table import FilmTable
from kgenre.data.formats.film_rows import FilmRows
from kgenre.data.formats.poster_folder import PosterFolder

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
        FilmDataError: not UTF-8, not CSV, no film in it, or genres that are not joined by ``|``.
    """
    rows = FilmRows(path, id_column="id")
    films = rows.kept()
    _check_genres(path, {film_id: row["genres"] for film_id, row in films.items()})
    genres_of = [
        {g for g in map(str.strip, row["genres"].split("|")) if g not in ("", "N/A")} for row in films.values()
    ]
    names = tuple(sorted(set().union(*genres_of)))
    posters = PosterFolder(path.parent)
    return FilmTable(
        ids=tuple(films),
        titles=tuple(row.get("title", "") for row in films.values()),
        years=tuple(_year(row.get("year", "")) for row in films.values()),
        overviews=tuple(row.get("overview", "") for row in films.values()),
        genres=np.array([[n in has for n in names] for has in genres_of], np.uint8).reshape(len(films), len(names)),
        genre_names=names,
        poster_paths=tuple(
            path.parent / row["poster"] if row.get("poster") else posters.path_of(film_id)
            for film_id, row in films.items()
        ),
        source=f"the films.csv layout, {path}",
        left_out=tuple(rows.left_out),
    )


def _check_genres(path: Path, genres: dict[str, str]) -> None:
    # Other people's tables have columns of the same names with lists or JSON in them; read as names they would
    # give thousands of genres that train without an error.
    joined_by_commas = not any("|" in text for text in genres.values())
    for film_id, text in genres.items():
        if text.startswith(("[", "{")) or text.isdecimal() or (joined_by_commas and "," in text):
            raise FilmDataError(
                f"{path}: the genres of film {film_id} are {text[:60]!r}. Give names joined by |, as in Drama|Romance."
            )


def _year(text: str) -> int | None:
    # pandas writes a column of years with gaps as 1983.0
    digits = text.removesuffix(".0")
    return int(digits) if digits.isdecimal() and len(digits) <= 4 else None
