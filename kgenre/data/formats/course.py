"""The layouts of the coursework, ``IMDB_overview_genres.csv``, and of Multi_Label_dataset, which has no overviews.

Columns ``Id``, ``Genre`` (a Python list literal), one 0/1 column per genre, ``Overview``. All genre columns are kept in
the file's order, including "N/A" and genres that no film has: the course's models have one output per column.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from kgenre.data.film_table import FilmTable, LeftOut
from kgenre.data.formats.gathered_films import GatheredFilms
from kgenre.data.formats.genre_cell import MAX_CHARS, literal
from kgenre.data.formats.layout import Layout

COLUMNS = ("Id", "Genre", "Overview")
ONE = frozenset({"1", "1.0", "True", "TRUE"})  # spreadsheets write TRUE for Python's True
ZERO_OR_ONE = ONE | {"0", "0.0", "False", "FALSE", ""}


def read(path: Path, layout: str = "the coursework's layout") -> FilmTable:
    """Read the CSV file at ``path`` (see the module docstring); ``layout`` is the layout's name in ``table.source``.

    If a film's ``Genre`` list and 0/1 columns disagree, the columns win: the course trains on them. In a file without
    such columns the genres come from the lists, sorted.

    Raises:
        FilmDataError: the file is not text, not CSV, or has no films.
    """
    films = GatheredFilms[tuple[str, tuple[str, ...]]](path)
    one_hot: dict[str, None] = {}  # the columns with nothing but 0 and 1 so far
    for film_id, row in films.rows("Id", exact=True):
        if not films.ids:
            # pandas writes its index as a column without a name, and reads it back as "Unnamed: 0".
            others = (n for n in row if n and n not in COLUMNS and not n.startswith("Unnamed:"))
            one_hot = dict.fromkeys(others)
        for name in [n for n in one_hot if row[n] not in ZERO_OR_ONE]:
            del one_hot[name]
        genres = (row["Genre"], tuple(n for n in one_hot if row[n] in ONE))
        films.add(film_id, genres=genres, overview=row.get("Overview", ""))
    listed = {genres: _genre_list(genres[0]) for genres in films.genres}
    source = f"{layout}, {path}"
    if one_hot:
        has = {genres: [n for n in genres[1] if n in one_hot] for genres in films.genres}
        differ = [(own := listed[g]) is not None and set(own) != set(has[g]) for g in films.genres]
        if disagreements := sum(differ[number] for number in films.genres_of):
            s = "s" * (disagreements != 1)
            films.notes.append(
                f"Genre list and genre columns disagree in {disagreements} film{s}: the columns are used."
            )
        return films.table(has.__getitem__, [*one_hot], source=source)
    read_as = list(listed)
    kept = []
    for film, number in enumerate(films.genres_of):
        if listed[read_as[number]] is None:
            reason = f"Genre is not a list of names: {read_as[number][0][:60]!r}"
            films.left_out.append(LeftOut(films.ids[film], reason))
        else:
            kept.append(film)
    films.check_not_empty(len(kept))
    return films.table(lambda genres: listed[genres] or (), source=source).subset(kept)


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
