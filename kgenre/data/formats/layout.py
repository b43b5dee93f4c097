"""The `Layout` class: how the files of a layout are recognised and read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kgenre.data.film_table import FilmTable
from kgenre.data.formats.csv_rows import column_key


@dataclass(frozen=True)
class Layout:
    """A kind of file with films.

    Args:
        file_name: the name under which the file is published; files with other names fit too.
        about: the file's contents and where the posters are, for messages.
        columns: the column names that a file must have; unless ``exact``, as `column_key` returns them. "title|id"
            means one of the two.
        read: reads the films in a file, or in one for each part of a split; raises `FilmDataError` if a file cannot be
            read, is truncated, or has no films.
        exact: column names must match in case, spaces and underscores too.
        kinds: ".csv" (any other text file too), ".json" (JSONL and Parquet too) or ".hdf5".
        in_parts: whether there may be one file for each part of a split.
        labelled: whether films have genres; if not, a file with a column named after genres does not fit.

    Example:
        >>> Layout("films.csv", "(columns id, genre)", ("id", "genre"), read_films).missing_columns(["ID", "Title"])
        ['genre']
    """

    file_name: str
    about: str
    columns: tuple[str, ...]
    read: Callable[..., FilmTable]
    exact: bool = False
    kinds: tuple[str, ...] = (".csv",)
    in_parts: bool = True
    labelled: bool = True

    def missing_columns(self, header: Sequence[str]) -> list[str]:
        """The column names of this layout that a header lacks."""
        has = set(header if self.exact else map(column_key, header))
        if not self.labelled and any("genre" in name.casefold() for name in header):
            has = set()
        return [names.partition("|")[0] for names in self.columns if has.isdisjoint(names.split("|"))]
