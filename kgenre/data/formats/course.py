"""The coursework's layout: ``IMDB_overview_genres.csv`` beside ``Images/`` or ``posters/``.

Columns ``Id``, ``Genre`` (a Python list literal), one column of 0 and 1 per genre, ``Overview``. All genre
columns are kept in the file's order, also "N/A" and those that never occur: the course's models have one
output for each.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kgenre.data.film_table import FilmTable
from kgenre.data.formats.csv_rows import read_header
from kgenre.data.formats.film_rows import FilmRows
from kgenre.data.formats.poster_folder import PosterFolder

FILE_NAME = "IMDB_overview_genres.csv"
COLUMNS = ("Id", "Genre", "Overview")
SUFFIXES = (".csv",)
LAYOUT = f"{FILE_NAME} (columns Id, Genre, one per genre, Overview) with Images/<Id>.jpg or posters/<Id>.jpg"


def missing_columns(header: Sequence[str]) -> list[str]:
    """The columns of this layout that a header lacks."""
    return [name for name in COLUMNS if name not in header]


def read(path: Path) -> FilmTable:
    """Read the CSV file at ``path``; see the module for the layout.

    Where the ``Genre`` list and the columns of 0 and 1 disagree, the columns count: they are what the course
    trains on. A file without such columns takes its genres from the lists, sorted.

    Raises:
        FilmDataError: not UTF-8, not CSV, or no film in it.
    """
    rows = FilmRows(path, id_column="Id")
    # pandas writes its index as a column without a name, or, read back once, as "Unnamed: 0".
    others = [n for n in read_header(path) if n and n not in COLUMNS and not n.startswith("Unnamed:")]
    one_hot = tuple(n for n in others if all(row[n] in ZERO | ONE for row in rows.films.values()))
    listed = {film_id: _genre_list(row["Genre"]) for film_id, row in rows.films.items()}
    if not one_hot:
        for film_id, genres in listed.items():
            if genres is None:
                rows.leave_out(film_id, f"Genre is not a list of names: {rows.films[film_id]['Genre'][:60]!r}")
    films = rows.kept()
    names = one_hot or tuple(sorted({g for film_id in films for g in listed[film_id] or ()}))
    genres = np.zeros((len(films), len(names)), np.uint8)
    disagreements = 0
    for i, (film_id, row) in enumerate(films.items()):
        has = {n for n in names if row[n] in ONE} if one_hot else set(listed[film_id] or ())
        genres[i] = [n in has for n in names]
        disagreements += listed[film_id] is not None and set(listed[film_id]) != has
    notes = []
    if disagreements:
        notes.append(f"{disagreements} films whose Genre list and genre columns disagree: the columns count.")
    posters = PosterFolder(path.parent)
    return FilmTable(
        ids=tuple(films),
        titles=("",) * len(films),
        years=(None,) * len(films),
        overviews=tuple(row.get("Overview", "") for row in films.values()),
        genres=genres,
        genre_names=names,
        poster_paths=tuple(posters.path_of(film_id) for film_id in films),
        source=f"the coursework's layout, {path}",
        left_out=tuple(rows.left_out),
        notes=tuple(notes),
    )


ZERO = frozenset({"0", "0.0", "False", ""})
ONE = frozenset({"1", "1.0", "True"})


def _genre_list(text: str) -> list[str] | None:
    try:
        genres = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if isinstance(genres, (list, tuple)) and all(isinstance(genre, str) for genre in genres):
        return [genre.strip() for genre in genres]
    return None
