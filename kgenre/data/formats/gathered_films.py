"""Build a film table film by film, as the layouts' readers go through a file; rows that are not films are left out."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from kgenre.data.errors import FilmDataError
from kgenre.data.film_table import FilmTable, LeftOut
from kgenre.data.formats.csv_rows import NumberedRow, column_key, read_rows, with_column_keys
from kgenre.data.formats.given_parts import part_of
from kgenre.data.formats.json_rows import JSON_SUFFIXES, read_json_rows
from kgenre.data.formats.poster_search import find_posters
from kgenre.data.formats.text_encoding import encoding_of
from kgenre.data.overview_text import overview_text
from kgenre.data.packed_columns import PackedTexts

_OF_MACHINE = re.compile(r"^[/\\]{2,}")
_MISFIT = "the row has too few or too many fields"
_NO_POSTER = frozenset({"", "n/a", "nan", "none", "null", "-"})
Genres = TypeVar("Genres", bound=Hashable)
Rows = Iterable[NumberedRow]


class GatheredFilms(Generic[Genres]):
    """The columns of a film table, which grow film by film: the rows of a file are never in memory all at once.

    A film's genres are kept as the layout has them, such as the text of a cell; `table` is given the function that
    turns them into names. ``left_out`` lists the rows that are not films, with the reason, and ``notes`` what else a
    user should know; readers may append notes.

    Args:
        files: the file that is read, or one for each part of a split, named as `part_of` expects; posters are searched
            for in the folder of the first one.

    Example:
        >>> films = GatheredFilms[str](Path("films.csv"))
        >>> for film_id, row in films.rows("id"):
        ...     films.add(film_id, genres=row["genres"])
        >>> films.table("a table", lambda cell: cell.split("|")).genres_of(0), films.left_out
        (('Drama',), [])
    """

    def __init__(self, *files: Path) -> None:
        self.files = files
        others = " and ".join(file.name for file in files[1:])
        self.name = f"{files[0]} with {others}" if others else str(files[0])
        self.left_out: list[LeftOut] = []
        self.notes: list[str] = []
        self.ids = PackedTexts()
        self.genres: dict[Genres, int] = {}  # the distinct ones, numbered in order of appearance
        self.genres_of = array("q")  # each film's number in ``genres``
        self._titles, self._overviews = PackedTexts(), PackedTexts()
        self._years: list[int | None] = []
        self._same_year: dict[int | None, int | None] = {}
        self._with_html = self._contradicting = 0
        self._posters, self._poster_names = PackedTexts(), PackedTexts()
        self._part = ""  # in front of the reasons for rows of a part
        self._split: dict[str, PackedTexts] = {}

    def rows(
        self, id_column: str, exact: bool = False, change: Callable[[Rows], Rows] = lambda rows: rows
    ) -> Iterator[tuple[str, dict[str, str]]]:
        """(id, row) of each film in the CSV or JSON files, in their order; no row is kept in memory.

        A row without an id or with the wrong number of fields, one that repeats the column names, and every later row
        with the same id are left out.

        Args:
            id_column: the column of ids.
            exact: whether the columns are named as in the file, or by `column_key`.
            change: preprocesses the rows of a file.

        Raises:
            FilmDataError: see `read_json_rows`, `encoding_of` and `read_rows`; or a file has no films.
        """
        for file in self.files:
            self._part = f"{file.name}: " if len(self.files) > 1 else ""
            rows_of: dict[str, int] = {}  # id -> hash of its row, to tell a repeated row from a contradicting one
            films, left_out, in_other_parts = len(self.ids), len(self.left_out), frozenset(self.ids)
            rows = self._rows_in(file)
            for line, row in change(rows if exact else with_column_keys(file, rows)):
                film_id = row[id_column] if row else ""
                if row is None:
                    self.leave_out(f"line {line}", _MISFIT)
                elif not film_id:
                    self.leave_out(f"line {line}", f"the row has no {id_column}")
                # A cheap test first: hardly any id begins with the first letter of its column's name, such as _id.
                elif film_id.lstrip("_")[:1].casefold() == id_column[0].casefold() and _repeats_names(row):
                    self.leave_out(f"line {line}", "the row repeats the column names")
                elif film_id in rows_of:
                    is_same = hash(tuple(row.values())) == rows_of[film_id]
                    repeats = "is the same" if is_same else f"has the same {id_column}"
                    self.leave_out(film_id, f"line {line}: an earlier row {repeats}")
                    self._contradicting += not is_same
                else:
                    rows_of[film_id] = hash(tuple(row.values()))
                    if film_id in in_other_parts:
                        self.leave_out(film_id, "it is in another part too")
                    else:
                        yield film_id, row
            _check_not_empty(str(file), len(rows_of), self.left_out[left_out:])
            if self._part:
                self._split[part_of(file)] = self.ids.take(np.arange(films, len(self.ids)))
        self._part = ""

    def _rows_in(self, file: Path) -> Rows:
        if file.suffix.lower() in JSON_SUFFIXES:
            return read_json_rows(file)
        encoding, notes = encoding_of(file)
        self.notes += notes
        return read_rows(file, encoding)

    def leave_out(self, film_id: str, reason: str) -> None:
        """List a row of the file that is being read as left out."""
        self.left_out.append(LeftOut(film_id, self._part + reason))

    def add(
        self,
        film_id: str,
        *,
        genres: Genres,
        title: str = "",
        year: int | None = None,
        overview: str = "",
        poster: str = "",
        poster_names: Iterable[str] = (),
    ) -> None:
        """Append a film.

        Args:
            film_id: an id that no earlier film has.
            genres: as the layout has them, see the class.
            title: "" if unknown.
            year: None if unknown.
            overview: as in the file; `overview_text` cleans it.
            poster: the poster's file, relative to the table, or link; "" or a placeholder if the table names none.
            poster_names: see `find_posters`.
        """
        self.ids.append(film_id)
        self.genres_of.append(self.genres.setdefault(genres, len(self.genres)))
        self._titles.append(title)
        self._years.append(self._same_year.setdefault(year, year))
        text = overview_text(overview)
        self._with_html += bool(text) and text != overview
        self._overviews.append(text)
        # To open //machine/share/alien.jpg, Windows would contact that machine and log in to it as the user.
        file = _OF_MACHINE.sub("", poster).replace("\\", "/")  # as Windows writes it
        self._posters.append("" if file.casefold() in _NO_POSTER else file)
        self._poster_names.append("\0".join(poster_names))

    def table(
        self,
        layout: str,
        names_in: Callable[[Genres], Iterable[str]],
        genre_names: Sequence[str] | None = None,
        **fields: Any,
    ) -> FilmTable:
        """All films as a table.

        Args:
            layout: the layout's name, for ``source``.
            names_in: turns the genres given to `add` into names.
            genre_names: the genre columns, in this order; other genres are ignored. None: all that occur, sorted.
            fields: other fields of the table; with ``poster_paths`` posters are not searched for.

        Raises:
            FilmDataError: there are no films, or fewer than rows with too few or too many fields.
        """
        self.check_not_empty(len(self.ids))
        listed = [set(names_in(genres)) for genres in self.genres]
        if count := self._with_html:
            self.notes.append(f"{count:,} overview{'s' * (count > 1)} contained HTML, which was converted to text.")
        if count := self._contradicting:
            self.notes.append(
                f"{count:,} row{'s have' if count > 1 else ' has'} the id of an earlier row but different cells: only "
                "a film's first row is used. If each genre has its own row, put them into one, joined by |."
            )
        if "poster_paths" not in fields:
            paths, found = find_posters(self.files[0].parent, self.ids, self._posters, self._poster_names)
            fields |= {"poster_paths": paths, "posters_found": found}
        if self._split:
            fields["split"] = self._split
        names = sorted(set().union(*listed)) if genre_names is None else genre_names
        column_of = {name: column for column, name in enumerate(names)}
        each = np.zeros((len(listed), len(names)), np.uint8)
        for row, some in enumerate(listed):
            each[row, [column_of[name] for name in some if name in column_of]] = 1
        return FilmTable(
            ids=self.ids,
            titles=self._titles,
            years=tuple(self._years),
            overviews=self._overviews,
            genres=each[np.frombuffer(self.genres_of, np.int64)],
            genre_names=tuple(names),
            source=f"{layout}, {self.name}",
            left_out=tuple(self.left_out),
            notes=tuple(self.notes),
            **fields,
        )

    def check_not_empty(self, films: int) -> None:
        """Raise `FilmDataError` if there are no films, or fewer than rows with too few or too many fields."""
        _check_not_empty(self.name, films, self.left_out)
        misfits = [entry for entry in self.left_out if entry.reason.endswith(_MISFIT)]
        if len(misfits) > films:
            raise FilmDataError(
                f"{self.name}: {len(misfits):,} of {films + len(misfits):,} rows have too few or too many fields, such "
                f"as {misfits[0].id}.\nTexts that contain the separator must be in quotes: export the table again from "
                "its source."
            )


def _check_not_empty(name: str, films: int, left_out: Sequence[LeftOut]) -> None:
    if not films:
        rows = len(left_out)
        why = f"all {rows:,} rows were left out: {left_out[0].reason}" if rows else "only a header"
        raise FilmDataError(f"{name} has no films ({why}).")


def _repeats_names(row: dict[str, str]) -> bool:
    return all(column_key(name) == column_key(cell) for name, cell in row.items())
