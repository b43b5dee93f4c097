"""A film table from its films, one after the other, as the readers of tables meet them."""

from __future__ import annotations

import re
from array import array
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

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
        >>> films.table(Path("films"), ["Drama", "War"], {"Drama|War": ["Drama", "War"]}, source="a table").genres_of(0)
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
        genre_names: Sequence[str],
        names_in: Mapping[Genres, Iterable[str]],
        **about: Any,
    ) -> FilmTable:
        """All films as a table.

        Args:
            folder: that of the file that they were read from: posters are looked for in it.
            genre_names: of the columns of genres, in their order; others are ignored.
            names_in: the names in each of what was given to `add` as genres.
            about: ``source``, ``left_out``, ``notes`` of the table.
        """
        if self._with_html:
            about["notes"] = (*about.get("notes", ()), f"{self._with_html:,} overviews have HTML: read as text.")
        posters = find_posters(folder, self.ids, self._posters, self._poster_names)
        return FilmTable(
            ids=self.ids,
            titles=self._titles,
            years=tuple(self._years),
            overviews=self._overviews,
            genres=self._matrix(genre_names, names_in),
            genre_names=tuple(genre_names),
            poster_paths=posters.paths,
            posters_found=posters.found,
            **about,
        )

    def _matrix(self, genre_names: Sequence[str], names_in: Mapping[Genres, Iterable[str]]) -> npt.NDArray[np.uint8]:
        column_of = {name: column for column, name in enumerate(genre_names)}
        each = np.zeros((len(self.genres), len(genre_names)), np.uint8)
        for row, genres in enumerate(self.genres):
            each[row, [column_of[name] for name in names_in[genres] if name in column_of]] = 1
        return each[np.frombuffer(self.genres_of, np.int64)]
