"""What a layout is: by what its files are known, and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kgenre.data.film_table import FilmTable
from kgenre.data.formats.csv_rows import plain


@dataclass(frozen=True)
class Layout:
    """A kind of file with films.

    Args:
        file_name: of the file where it is published; any other will do.
        about: what is in it, and where the posters are, for people.
        columns: the names that a file must have; unless ``exact``, as `plain` writes them.
        read: the films in a file; raises `FilmDataError` where it cannot be read, was cut, or has no film.
        exact: capitals, blanks and underscores in names count.
        kinds: CSV, which other text is held to be, JSON, with all that is read like it, or HDF5.
        lacking: the names that a header lacks, where it is not simply those of ``columns``.

    Example:
        >>> Layout("films.csv", "(columns id, genre)", ("id", "genre"), read_films).missing_columns(["ID", "Title"])
        ['genre']
    """

    file_name: str
    about: str
    columns: tuple[str, ...]
    read: Callable[[Path], FilmTable]
    exact: bool = False
    kinds: tuple[str, ...] = (".csv",)
    lacking: Callable[[Sequence[str]], list[str]] | None = None

    def missing_columns(self, header: Sequence[str]) -> list[str]:
        """The names that a header lacks to be of this layout."""
        if self.lacking is not None:
            return self.lacking(header)
        has = set(header if self.exact else map(plain, header))
        return [name for name in self.columns if name not in has]
