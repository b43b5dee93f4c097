"""A film table from its films, one after the other, as the readers of tables meet them; what is no film is left out."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from kgenre.data.errors import FilmDataError
from kgenre.data.film_table import FilmTable, LeftOut
from kgenre.data.formats.csv_rows import NumberedRow, plain
from kgenre.data.formats.poster_search import find_posters
from kgenre.data.overview_text import overview_text
from kgenre.data.packed_columns import PackedTexts

_OF_MACHINE = re.compile(r"^[/\\]{2,}")
_MISFIT = "the row has too few or too many fields"
Genres = TypeVar("Genres", bound=Hashable)


class GatheredFilms(Generic[Genres]):
    """Columns that grow by a film at a time, in little memory: a table's rows are never there all at once.

    A film's genres are whatever a layout has for them, such as the text of a cell; `table` is told their names.
    ``left_out`` says which rows are no films, and why; readers may add others.

    Args:
        path: the file that they are read from; posters are looked for in its folder.

    Example:
        >>> films = GatheredFilms[str](Path("films.csv"))
        >>> for film_id, row in films.rows_of("id", [(2, {"id": "tt0084058", "genres": "Drama|War"}), (3, {"id": ""})]):
        ...     films.add(film_id, genres=row["genres"])
        >>> films.table(lambda cell: cell.split("|"), source="a table").genres_of(0), films.left_out
        (('Drama', 'War'), [LeftOut(id='line 3', reason='the row has no id')])
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.left_out: list[LeftOut] = []
        self.ids = PackedTexts()
        self.genres: dict[Genres, int] = {}  # those that some film has, in order of appearance: few, many times
        self.genres_of = array("q")  # each film's, as a number of these
        self._titles, self._overviews = PackedTexts(), PackedTexts()
        self._years: list[int | None] = []
        self._same_year: dict[int | None, int | None] = {}
        self._with_html = self._contradicting = 0
        self._posters, self._poster_names = PackedTexts(), PackedTexts()

    def rows_of(self, id_column: str, rows: Iterable[NumberedRow]) -> Iterator[tuple[str, dict[str, str]]]:
        """(id, row) of each film, in the file's order; no row is kept.

        A row without id or with the wrong number of fields, one that repeats the names of the columns, and every later
        row of an id that was there before, is left out.

        Args:
            id_column: the column of ids.
            rows: of the file, see `read_rows`.
        """
        rows_of: dict[str, int] = {}  # a hash of each film's row, to say what a second one is
        for line, row in rows:
            film_id = row[id_column] if row else ""
            if row is None:
                self.left_out.append(LeftOut(f"line {line}", _MISFIT))
            elif not film_id:
                self.left_out.append(LeftOut(f"line {line}", f"the row has no {id_column}"))
            # Most ids are told from the name of their column by the first letter.
            elif film_id[0].casefold() == id_column[0].casefold() and _repeats_names(row):
                self.left_out.append(LeftOut(f"line {line}", "the row repeats the names of the columns"))
            elif film_id in rows_of:
                is_same = hash(tuple(row.values())) == rows_of[film_id]
                same = "the same row" if is_same else f"the same {id_column}"
                self.left_out.append(LeftOut(film_id, f"line {line}: {same} was there before"))
                self._contradicting += not is_same
            else:
                rows_of[film_id] = hash(tuple(row.values()))
                yield film_id, row

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
        """Put a film at the end.

        Args:
            film_id: of no film before.
            genres: see the class; those of many films are the same.
            title: see `FilmTable`, as for ``year`` and ``overview``.
            year: None where unknown.
            overview: as it stands in the table; see `overview_text`.
            poster: its file, relative to the table; "" where that is not said.
            poster_names: see `find_posters`.
        """
        self.ids.append(film_id)
        self.genres_of.append(self.genres.setdefault(genres, len(self.genres)))
        self._titles.append(title)
        self._years.append(self._same_year.setdefault(year, year))
        text = overview_text(overview)
        self._with_html += bool(text) and text != overview
        self._overviews.append(text)
        # Windows would ask the machine named in //machine/share/alien.jpg, and tell it who asks.
        self._posters.append(_OF_MACHINE.sub("", poster))
        self._poster_names.append("\0".join(poster_names))

    def table(
        self,
        names_in: Callable[[Genres], Iterable[str]],
        genre_names: Sequence[str] | None = None,
        **about: Any,
    ) -> FilmTable:
        """All films as a table.

        Args:
            names_in: the names in what was given to `add` as genres.
            genre_names: of the columns of genres, in their order; others are ignored. None: those that occur, sorted.
            about: of the table, such as ``source``; with ``poster_paths`` no posters are looked for.

        Raises:
            FilmDataError: no film was added, or fewer than rows with too few or too many fields.
        """
        self.check_some(len(self.ids))
        if count := self._with_html:
            note = f"{count:,} overview{'s have' if count > 1 else ' has'} HTML: read as text."
            about["notes"] = (*about.get("notes", ()), note)
        if count := self._contradicting:
            note = (
                f"{count:,} row{'s have' if count > 1 else ' has'} the id of a film above and other cells: a film's "
                "first row counts. Where each of its genres has a row, put them into one, joined by |."
            )
            about["notes"] = (*about.get("notes", ()), note)
        if "poster_paths" not in about:
            paths, found = find_posters(self.path.parent, self.ids, self._posters, self._poster_names)
            about |= {"poster_paths": paths, "posters_found": found}
        listed = [set(names_in(genres)) for genres in self.genres]
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
            left_out=tuple(self.left_out),
            **about,
        )

    def check_some(self, films: int) -> None:
        """Raise `FilmDataError` if no film was taken, or fewer than rows with too few or too many fields."""
        if not films:
            rows = len(self.left_out)
            why = f"all {rows} rows were left out: {self.left_out[0].reason}" if rows else "only a header"
            raise FilmDataError(f"{self.path} has no films ({why}).")
        misfits = [entry.id for entry in self.left_out if entry.reason == _MISFIT]
        if len(misfits) > films:
            raise FilmDataError(
                f"{self.path}: {len(misfits):,} of {films + len(misfits):,} rows have too few or too many fields, "
                f"{misfits[0]} first.\nTexts with the separator in them need quotes around them: save the table anew "
                "where it comes from."
            )


def _repeats_names(row: dict[str, str]) -> bool:
    return all(plain(name) == plain(cell) for name, cell in row.items())
