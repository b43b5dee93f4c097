"""Rows of a table of films, one after the other: rows that cannot be a film are left out, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from kgenre.data.errors import FilmDataError
from kgenre.data.film_table import LeftOut
from kgenre.data.formats.csv_rows import NumberedRow, plain


class FilmRows:
    """(id, row) of each film in a CSV file, in the file's order; no row is kept.

    A row without id or with the wrong number of fields, one that repeats the names of the columns, and every later row
    of an id that was there before, is left out: ``left_out`` says why, once the rows have been read; who reads them
    may add others.

    Args:
        path: the file, for messages.
        id_column: the column of ids.
        rows: its rows, see `read_rows`.

    Example:
        >>> rows = FilmRows(Path("films.csv"), "id", [(2, {"id": "tt0084058"}), (3, {"id": ""})])
        >>> list(rows), rows.left_out
        ([('tt0084058', {'id': 'tt0084058'})], [LeftOut(id='line 3', reason='the row has no id')])
    """

    def __init__(self, path: Path, id_column: str, rows: Iterable[NumberedRow]) -> None:
        self.path = path
        self.left_out: list[LeftOut] = []
        self._id_column, self._rows = id_column, rows

    def __iter__(self) -> Iterator[tuple[str, dict[str, str]]]:
        rows_of: dict[str, int] = {}  # a hash of each film's row, to say what a second one is
        for line, row in self._rows:
            film_id = row[self._id_column] if row else ""
            if row is None:
                self.left_out.append(LeftOut(f"line {line}", "the row has too few or too many fields"))
            elif not film_id:
                self.left_out.append(LeftOut(f"line {line}", f"the row has no {self._id_column}"))
            # Most ids are told from the name of their column by the first letter.
            elif film_id[0].casefold() == self._id_column[0].casefold() and _repeats_names(row):
                self.left_out.append(LeftOut(f"line {line}", "the row repeats the names of the columns"))
            elif film_id in rows_of:
                is_same = hash(tuple(row.values())) == rows_of[film_id]
                same = "the same row" if is_same else f"the same {self._id_column}"
                self.left_out.append(LeftOut(film_id, f"line {line}: {same} was there before"))
            else:
                rows_of[film_id] = hash(tuple(row.values()))
                yield film_id, row

    def check_some(self, films: int) -> None:
        """Raise `FilmDataError` if no film was taken."""
        if not films:
            rows = len(self.left_out)
            why = f"all {rows} rows were left out: {self.left_out[0].reason}" if rows else "only a header"
            raise FilmDataError(f"{self.path} has no films ({why}).")


def _repeats_names(row: dict[str, str]) -> bool:
    return all(plain(name) == plain(cell) for name, cell in row.items())
