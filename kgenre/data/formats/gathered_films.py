"""A film table from its films, one after the other, as the readers of tables meet them."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from kgenre.data.film_table import FilmTable
from kgenre.data.formats.poster_search import find_posters
from kgenre.data.overview_text import overview_text
from kgenre.data.packed_columns import PackedTexts

_OF_MACHINE = re.compile(r"^[/\\]{2,}")
Genres = TypeVar("Genres", bound=Hashable)


class GatheredFilms(Generic[Genres]):
    """Columns that grow by a film at a time, in little memory: a table's rows are never there all at once.

    A film's genres are whatever a layout has for them, such as the text of a cell; `table` is told their names.

    Example:
        >>> films = GatheredFilms[str]()
        >>> films.add("tt0084058", genres="Drama|War", overview="A man goes home.")
        >>> films.table(Path("films"), lambda cell: cell.split("|"), source="a table").genres_of(0)
        ('Drama', 'War')
    """

    def __init__(self) -> None:
        self.ids = PackedTexts()
        self.genres: dict[Genres, int] = {}  # those that some film has, in order of appearance: few, many times
        self.genres_of = array("q")  # each film's, as a number of these
        self._titles, self._overviews = PackedTexts(), PackedTexts()
        self._years: list[int | None] = []
        self._same_year: dict[int | None, int | None] = {}
        self._with_html = 0
        self._posters, self._poster_names = PackedTexts(), PackedTexts()

    def __len__(self) -> int:
        return len(self.ids)

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
        folder: Path,
        names_in: Callable[[Genres], Iterable[str]],
        genre_names: Sequence[str] | None = None,
        **about: Any,
    ) -> FilmTable:
        """All films as a table.

        Args:
            folder: that of the file that they were read from: posters are looked for in it.
            names_in: the names in what was given to `add` as genres.
            genre_names: of the columns of genres, in their order; others are ignored. None: those that occur, sorted.
            about: of the table, such as ``source``; with ``poster_paths`` no posters are looked for.
        """
        if self._with_html:
            about["notes"] = (*about.get("notes", ()), f"{self._with_html:,} overviews have HTML: read as text.")
        if "poster_paths" not in about:
            paths, found = find_posters(folder, self.ids, self._posters, self._poster_names)
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
            **about,
        )
