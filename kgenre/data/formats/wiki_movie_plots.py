"""Kaggle's ``wiki_movie_plots_deduped.csv``: ``Genre`` is free text such as "comedy, drama"; ``Plot`` is long.

A film's id is the last part of its ``Wiki Page``, with the title where several films share a page. Posters are
looked for in the folders beside it, by that id.
"""

from __future__ import annotations

from pathlib import Path

from kgenre.data.film_table import FilmTable
from kgenre.data.formats.genre_cell import joined_genres
from kgenre.data.formats.named_columns import NamedColumns, Rows

FILE_NAME = "wiki_movie_plots_deduped.csv"
COLUMNS = ("wikipage", "title", "genre", "plot")
SUFFIXES = (".csv",)
LAYOUT = f"{FILE_NAME} (columns Release Year, Title, Genre, Wiki Page, Plot)"

_COLUMNS = NamedColumns(
    "the wiki_movie_plots layout",
    COLUMNS,
    id="wikipage",
    genres="genre",
    genres_in=lambda text: joined_genres(text, ",/;"),
    year="releaseyear",
    overview="plot",
)
missing_columns = _COLUMNS.missing


def read(path: Path) -> FilmTable:
    """Read the CSV file at ``path``; see the module for the layout.

    Genres stay as the pages have them: "comedy drama" is one genre, and most names occur once.

    Raises:
        FilmDataError: the file cannot be read, was cut, or has no film.

    Example:
        >>> read(Path("wiki_movie_plots_deduped.csv")).ids[0]
        'Kansas_Saloon_Smashers'
    """
    return _COLUMNS.read(path, _with_ids)


def _with_ids(rows: Rows) -> Rows:
    title_of: dict[str, str] = {}
    for number, row in rows:
        if row is not None:
            page = row["wikipage"].rstrip("/").rpartition("/")[2]
            shared = page and title_of.setdefault(page, row["title"]) != row["title"]
            row = {**row, "wikipage": f"{page} ({row['title']})" if shared else page}
        yield number, row
