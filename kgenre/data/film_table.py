"""The film table, which every layout on disk is read into: the rest of the package sees nothing else of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kgenre.data.film_marks import film_marks
from kgenre.data.packed_columns import PackedTexts, PosterPaths


class LeftOut(NamedTuple):
    """A film that is not used, and why."""

    id: str
    reason: str


@dataclass(frozen=True, eq=False)
class FilmTable:
    """Films as columns of equal length; row ``i`` of each column is film ``i``.

    Ids, titles, overviews and poster paths may be given as any sequence. The table packs them to save memory:
    ``table.overviews[i]`` is a string, ``table.poster_paths[i]`` a `Path` or None.

    Args:
        ids: distinct names of the films, such as "tt0084058".
        titles: "" where unknown.
        years: None where unknown.
        overviews: one or two sentences; "" where there is none.
        genres: uint8 (n, G), 1 where film n has genre g.
        genre_names: the G names, in the order of the columns of ``genres``.
        poster_paths: where the poster should be (the file may be missing or bad); None if there is none.
        source: the layout and file that the table was read from, for messages.
        left_out: rows of the file that are not in the table.
        notes: what else a user of the data should know, one line each.
        root: the folder that posters must be in; None for anywhere.
        split: film ids by part, if the source comes with a split of its own.
        posters_found: the number of posters and their folders, for messages; "" if they were not searched for.

    Raises:
        ValueError: columns of different lengths.

    Example:
        >>> table = FilmTable(
        ...     ids=("a", "b"), titles=("Alien", ""), years=(1979, None), overviews=("A ship.", ""),
        ...     genres=np.array([[1, 1], [0, 1]], "uint8"), genre_names=("Horror", "Sci-Fi"),
        ...     poster_paths=(None, None),
        ... )
        >>> len(table), table.genres_of(0), table.subset([1]).ids
        (2, ('Horror', 'Sci-Fi'), PackedTexts(1: 'b'))
    """

    ids: PackedTexts
    titles: PackedTexts
    years: tuple[int | None, ...]
    overviews: PackedTexts
    genres: npt.NDArray[np.uint8]
    genre_names: tuple[str, ...]
    poster_paths: PosterPaths
    source: str = "a table in memory"
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    root: Path | None = None
    split: Mapping[str, Sequence[str]] | None = None
    posters_found: str = ""

    def __post_init__(self) -> None:
        # Tables may have a hundred thousand rows: their columns decide how much memory a run takes.
        texts = dict.fromkeys(("ids", "titles", "overviews"), PackedTexts)
        for name, packed in (texts | {"poster_paths": PosterPaths}).items():
            if not isinstance(getattr(self, name), packed):
                object.__setattr__(self, name, packed(getattr(self, name)))
        columns = (self.ids, self.titles, self.years, self.overviews, self.genres, self.poster_paths)
        lengths = [len(column) for column in columns]
        if len(set(lengths)) > 1 or self.genres.shape != (len(self.ids), len(self.genre_names)):
            raise ValueError(
                f"A FilmTable needs columns of equal length, and genres of shape (films, genre names). "
                f"Received: lengths {lengths}, genres {self.genres.shape}, {len(self.genre_names)} names."
            )

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"FilmTable({len(self):,} films, {len(self.genre_names)} genres, from {self.source})"

    @cached_property
    def marks(self) -> npt.NDArray[np.str_]:
        """Marks that tell apart films with the same id, see `film_marks`; str (n,)."""
        return film_marks(self.titles, self.overviews)

    def subset(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> FilmTable:
        """The films at ``indices``, in that order."""
        rows = np.asarray(indices, dtype=np.intp)
        if np.array_equal(rows, np.arange(len(self))):
            return self
        packed = ("ids", "titles", "overviews", "poster_paths")
        chosen = {name: getattr(self, name).take(rows) for name in packed}
        return replace(self, years=tuple(self.years[i] for i in rows), genres=self.genres[rows], **chosen)

    def genres_of(self, index: int) -> tuple[str, ...]:
        """The names of one film's genres, in the order of ``genre_names``."""
        return tuple(name for name, has in zip(self.genre_names, self.genres[index], strict=True) if has)

    def with_genres(self, genre_names: Sequence[str]) -> FilmTable:
        """The same films with these genre columns, in this order; new columns are all zero."""
        column_of = {name: i for i, name in enumerate(self.genre_names)}
        genres = np.zeros((len(self), len(genre_names)), np.uint8)
        for column, name in enumerate(genre_names):
            if name in column_of:
                genres[:, column] = self.genres[:, column_of[name]]
        return replace(self, genres=genres, genre_names=tuple(genre_names))
