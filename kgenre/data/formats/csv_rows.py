"""Rows of a CSV file as people have it: byte-order mark, semicolons, short rows, open quotes."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from kgenre.data.errors import FilmDataError

# A field of a film table spans a handful of lines; far more means that a closing quote is missing, and that
# the films after it would silently become part of one overview.
MAX_LINES_OF_A_ROW = 100


def read_header(path: Path) -> list[str]:
    """The column names of a CSV file, stripped; [] for an empty file.

    Raises:
        FilmDataError: the file is not UTF-8 text.
    """
    with open_csv(path) as file:
        return [name.strip() for name in next(csv.reader(file, delimiter=_delimiter(path)), [])]


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, str] | None]]:
    """Each row as (line number, {column: stripped text}); None for a row with too few or too many fields.

    Blank rows are skipped.

    Raises:
        FilmDataError: not UTF-8, a quote that never closes, or text that is not CSV.
    """
    with open_csv(path) as file:
        reader = csv.reader(file, delimiter=_delimiter(path))
        names = [name.strip() for name in next(reader, [])]
        line = reader.line_num
        try:
            for fields in reader:
                first_line, line = line + 1, reader.line_num
                if line - first_line > MAX_LINES_OF_A_ROW:
                    raise FilmDataError(
                        f"{path}: a row begins on line {first_line} and ends on line {line}. "
                        f'Close the quote (") that was opened near line {first_line}.'
                    )
                if not any(field.strip() for field in fields):
                    continue
                whole = len(fields) == len(names)
                yield (
                    first_line,
                    {n: f.strip() for n, f in zip(names, fields, strict=True)} if whole else None,
                )
        except csv.Error as error:
            raise FilmDataError(f"{path}, line {line + 1}: this is not CSV ({error}).") from error
        except UnicodeDecodeError as error:
            raise _not_utf8(path, error) from error


def open_csv(path: Path):  # noqa: ANN201 - a text file
    """Open for the csv module: UTF-8, with or without a byte-order mark, line ends left to csv."""
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise FilmDataError(f"{path} cannot be opened: {error.strerror}.") from error


def _delimiter(path: Path) -> str:
    # Spreadsheets in half of Europe save "CSV" with semicolons.
    with open_csv(path) as file:
        try:
            header = file.readline(100_000)
        except UnicodeDecodeError as error:
            raise _not_utf8(path, error) from error
    return max(",;\t", key=header.count)


def _not_utf8(path: Path, error: UnicodeDecodeError) -> FilmDataError:
    return FilmDataError(
        f"{path} is not UTF-8 text (byte 0x{error.object[error.start]:02x}). "
        "Save it as UTF-8; in a spreadsheet: 'CSV UTF-8'."
    )
