"""The reader shared by layouts with one column per field: they differ in column names and in the form of genres."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kgenre.data.film_table import FilmTable
from kgenre.data.formats.gathered_films import GatheredFilms, Rows
from kgenre.data.formats.genre_cell import listed_genres


@dataclass(frozen=True)
class NamedColumns:
    """The columns of a layout that have the fields of a film table, named as `column_key` does; "" if it has none.

    Args:
        name: the layout's name for messages, such as "the MovieGenre layout".
        parse_genres: parses a genre cell; returns None if the cell does not have the layout's form.
        id, genres, title, year, overview, poster: the columns; a year may be part of a date or end a title, a poster be
            a link or a file.
        other_ids: columns whose values may also be the name of the film's poster file.
        change: preprocesses the rows, whose column names are keys.
        skip_reason: returns the reason to leave out a row that is not a film, otherwise "".

    Example:
        >>> NamedColumns("my layout", str.split).read(Path("films.csv")).ids[0]
        'tt0084058'
    """

    name: str
    parse_genres: Callable[[str], list[str] | None] = listed_genres
    id: str = "id"
    genres: str = "genres"
    title: str = "title"
    year: str = "year"
    overview: str = "overview"
    poster: str = ""
    other_ids: tuple[str, ...] = ()
    change: Callable[[Rows], Rows] = lambda rows: rows
    skip_reason: Callable[[dict[str, str]], str] = lambda row: ""

    def read(self, *files: Path) -> FilmTable:
        """Read a CSV or JSON file, or one for each part; the genre names are those that occur, sorted.

        Raises:
            FilmDataError: the file cannot be read, is truncated, or has no films.
        """
        films = GatheredFilms[tuple[str, ...]](*files)
        for film_id, row in films.rows(self.id, change=self.change):
            genres = self.parse_genres(row[self.genres])
            if reason := self.skip_reason(row):
                films.leave_out(film_id, reason)
            elif genres is None:
                films.leave_out(film_id, f"{self.genres} is not a list of genres: {row[self.genres][:60]!r}")
            else:
                year = year_in(row.get(self.year, ""))
                films.add(
                    film_id,
                    genres=tuple(genres),
                    title=_title(row.get(self.title, ""), year),
                    year=year,
                    overview=row.get(self.overview, ""),
                    poster=row.get(self.poster, ""),
                    poster_names=self._poster_names(film_id, row),
                )
        return films.table(self.name, tuple)

    def _poster_names(self, film_id: str, row: dict[str, str]) -> Iterator[str]:
        # Most tables name no files: users save posters under an id.
        yield f"{film_id}_poster"
        for name in (row.get(column, "") for column in self.other_ids):
            if name:
                yield name
                yield f"{name}_poster"
        if film_id.isdecimal() and "imdbid" in self.id:
            yield f"tt{film_id:0>7}"


def _title(text: str, year: int | None) -> str:
    return text.removesuffix(f"({year})").rstrip()


def year_in(text: str) -> int | None:
    """The year in a title or date; None if there is none.

    Example:
        >>> year_in("1984 (1956)"), year_in("10/30/1995"), year_in("1983.0"), year_in("10-12-09")
        (1956, 1995, 1983, None)
    """
    # pandas writes a column of years with gaps as 1983.0; of 1994–1998 the first year counts.
    found = re.search(r"\(((?:18|19|20)\d\d)\)$", text) or re.search(r"\b((?:18|19|20)\d\d)\b", text)
    return int(found[1]) if found else None
