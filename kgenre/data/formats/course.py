"""The layouts of the coursework, ``IMDB_overview_genres.csv``, and of Multi_Label_dataset, which has no overviews.

Columns ``Id``, ``Genre`` (a Python list literal), one 0/1 column per genre, ``Overview``. All genre columns are kept in
the file's order, including "N/A" and genres that no film has: the course's models have one output per column.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from kgenre.data.film_table import FilmTable
from kgenre.data.formats.gathered_films import GatheredFilms
from kgenre.data.formats.genre_cell import MAX_CHARS, literal
from kgenre.data.formats.layout import Layout

COLUMNS = ("Id", "Genre", "Overview")
ONE = frozenset({"1", "1.0", "True", "TRUE"})  # spreadsheets write TRUE for Python's True
ZERO_OR_ONE = ONE | {"0", "0.0", "False", "FALSE", ""}


def read(*files: Path, layout: str = "the coursework's layout") -> FilmTable:
    """Read a CSV file, or one for each part (see the module docstring).

    If a film's ``Genre`` list and 0/1 columns disagree, the columns win: the course trains on them. In a file without
    such columns the genres come from the lists, sorted.

    Args:
        files: the file or files.
        layout: the layout's name in ``table.source``.

    Raises:
        FilmDataError: a file is not text, not CSV, or has no films.
    """
    films = GatheredFilms[tuple[str, tuple[str, ...]]](*files)
    is_one_hot: dict[str, bool] = {}  # whether a column has had nothing but 0 and 1
    header, others = None, list[str]()
    for film_id, row in films.rows("Id", exact=True):
        if row.keys() != header:  # in the first row of a file
            header = row.keys()
            # pandas writes its index as a column without a name, and reads it back as "Unnamed: 0".
            others = [name for name in row if name and name not in COLUMNS and not name.startswith("Unnamed:")]
            is_one_hot |= {name: True for name in others if name not in is_one_hot}
        for name in others:
            is_one_hot[name] = is_one_hot[name] and row[name] in ZERO_OR_ONE
        # A test set may have lists only.
        names = [name for name in others if row[name] in ONE] if others else _genre_list(row["Genre"]) or ()
        films.add(film_id, genres=(row["Genre"], tuple(names)), overview=row.get("Overview", ""))
    listed = {genres: _genre_list(genres[0]) for genres in films.genres}
    if columns := [name for name, is_one in is_one_hot.items() if is_one]:
        has = {genres: [name for name in genres[1] if is_one_hot.get(name)] for genres in films.genres}
        differ = [(own := listed[g]) is not None and set(own) != set(has[g]) for g in films.genres]
        if disagreements := sum(differ[number] for number in films.genres_of):
            s = "s" * (disagreements != 1)
            films.notes.append(
                f"Genre list and genre columns disagree in {disagreements} film{s}: the columns are used."
            )
        return films.table(layout, has.__getitem__, columns)
    read_as = list(listed)
    kept = []
    for film, number in enumerate(films.genres_of):
        if listed[read_as[number]] is None:
            films.leave_out(films.ids[film], f"Genre is not a list of names: {read_as[number][0][:60]!r}")
        else:
            kept.append(film)
    films.check_not_empty(len(kept))
    return films.table(layout, lambda genres: listed[genres] or ()).subset(kept)


def _genre_list(text: str) -> list[str] | None:
    genres = literal(text) if len(text) <= MAX_CHARS else None
    if isinstance(genres, (list, tuple)) and all(isinstance(genre, str) for genre in genres):
        return [genre.strip() for genre in genres]
    return None


COURSE = Layout(
    "IMDB_overview_genres.csv",
    "(columns Id, Genre, one per genre, Overview) with Images/<Id>.jpg or posters/<Id>.jpg",
    COLUMNS,
    read,
    exact=True,
)
MULTI_LABEL = Layout(
    "whole.csv",
    "(columns Id, Genre, one per genre) with Images/<Id>.jpg",
    COLUMNS[:2],
    partial(read, layout="the Multi_Label_dataset layout"),
    exact=True,
)
