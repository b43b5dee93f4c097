"""Rows of a table of films by id: rows that cannot be a film are left out, with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kgenre.data.errors import FilmDataError
from kgenre.data.film_table import LeftOut
from kgenre.data.formats.csv_rows import NumberedRow, read_rows


class FilmRows:
    """The rows of a CSV file by film id, in the file's order.

    A row without id or with the wrong number of fields, and every later row of an id that was there before,
    is left out: ``left_out`` says why. ``rows`` are (line, row), those of ``read_rows(path)`` unless given.
    """

    def __init__(self, path: Path, id_column: str, rows: Iterable[NumberedRow] | None = None) -> None:
        self.path = path
        self.films: dict[str, dict[str, str]] = {}
        self.left_out: list[LeftOut] = []
        for line, row in read_rows(path) if rows is None else rows:
            film_id = row[id_column] if row else ""
            if row is None:
                self.left_out.append(LeftOut(f"line {line}", "the row has too few or too many fields"))
            elif not film_id:
                self.left_out.append(LeftOut(f"line {line}", f"the row has no {id_column}"))
            elif film_id in self.films:
                same = "the same row" if row == self.films[film_id] else f"the same {id_column}"
                self.left_out.append(LeftOut(film_id, f"line {line}: {same} was there before"))
            else:
                self.films[film_id] = row

    def leave_out(self, film_id: str, reason: str) -> None:
        """Take a film out of the table."""
        del self.films[film_id]
        self.left_out.append(LeftOut(film_id, reason))

    def kept(self) -> dict[str, dict[str, str]]:
        """The rows that were not left out.

        Raises:
            FilmDataError: there are none.
        """
        if not self.films:
            rows = len(self.left_out)
            why = f"all {rows} rows were left out: {self.left_out[0].reason}" if rows else "only a header"
            raise FilmDataError(f"{self.path} has no films ({why}).")
        return self.films
