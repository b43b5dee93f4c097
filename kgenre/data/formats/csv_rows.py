"""Read the rows of real-world CSV files: with byte-order marks, semicolons, short rows and unclosed quotes."""

from __future__ import annotations

import csv
import functools
import itertools
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from kgenre.data.errors import FilmDataError
from kgenre.data.formats.text_encoding import ENDS_IN_A_LETTER, SAVE_AS_UTF8, is_utf16

# A field of a film table spans a handful of lines. Far more means that a closing quote is missing, so that the films
# after it would silently become part of one overview.
MAX_LINES_OF_A_ROW = 100

NumberedRow = tuple[int, dict[str, str] | None]


@functools.lru_cache(maxsize=4096)  # called for every field of every row
def column_key(column: str) -> str:
    """A column name reduced for comparison: case-folded, without spaces, underscores and a stray "$" at the end.

    Example:
        >>> column_key("Imdb Link"), column_key("imdb_id"), column_key("title$")
        ('imdblink', 'imdbid', 'title')
    """
    return column.casefold().replace("_", "").replace(" ", "").rstrip("$")


def read_header(path: Path, skip_lines: int = 0) -> list[str]:
    """The column names of a CSV file, stripped; [] for an empty file.

    The first ``skip_lines`` lines are skipped, to see whether the header comes after them.

    Raises:
        FilmDataError: the header is neither UTF-8 nor Windows-1252 text, or not CSV.
    """
    with open_csv(path, errors="surrogateescape") as file:
        delimiter = _delimiter(path, skip_lines)
        lines = _remembered(itertools.islice(file, skip_lines, None), [])
        try:
            names = [name.strip() for name in next(_reader(lines, delimiter), [])]
        except csv.Error as error:
            raise FilmDataError(f"{path}, line {skip_lines + 1} is not valid CSV ({error}).") from error
    # Only the header matters here: the layout's reader deals with rows in another encoding.
    raw = [name.encode("utf-8", "surrogateescape") for name in names]
    if any(b"\0" in name for name in raw):  # UTF-16 without its mark
        raise FilmDataError(f"{path} is not UTF-8 text (byte 0x00). {SAVE_AS_UTF8}")
    try:
        return [name.decode("utf-8") for name in raw]
    except UnicodeDecodeError as error:
        with suppress(UnicodeDecodeError):
            return [name.decode("cp1252") for name in raw]
        raise _not_utf8(path, error) from error


def read_rows(path: Path, encoding: str = "utf-8-sig") -> Iterator[NumberedRow]:
    """Each row as (line number, {column: stripped text}); None for a row with too few or too many fields.

    Blank rows are skipped.

    Raises:
        FilmDataError: the file is not in ``encoding`` or not CSV, a column appears twice, a quote is never closed, or
            the file ends inside a quote: it is truncated.
    """
    with open_csv(path, encoding) as file:
        delimiter = _delimiter(path)
        lines: list[str] = []  # of the row being read
        last_row: list[str] = []
        reader = _reader(_remembered(file, lines), delimiter)
        line = 0
        try:
            names = [name.strip() for name in next(reader, [])]
            if twice := next((name for name in names if name and names.count(name) > 1), ""):
                raise FilmDataError(f"{path}: the column {twice} appears twice. Delete or rename one of them.")
            line = reader.line_num
            lines.clear()
            for fields in reader:
                first_line, line = line + 1, reader.line_num
                last_row = lines.copy()
                lines.clear()
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
            if _ends_inside_a_quote(last_row, delimiter):
                first_line = line + 1 - len(last_row)
                raise FilmDataError(
                    f"{path} is truncated: it ends inside a quoted field of the row that begins on line {first_line}. "
                    f"Get the whole file, or delete everything from line {first_line} on."
                )
        except csv.Error as error:
            raise FilmDataError(f"{path}, line {line + 1} is not valid CSV ({error}).") from error
        except UnicodeDecodeError as error:
            raise _not_utf8(path, error) from error


def with_column_keys(path: Path, rows: Iterable[NumberedRow]) -> Iterator[NumberedRow]:
    """The same rows with `column_key` as column names; if a table has both "ID" and "id", "id" is kept.

    Raises:
        FilmDataError: columns of the file ``path``, such as "Genres" and "GENRES", have the same key, and none is it.
    """
    is_checked = False
    for number, row in rows:
        if row is not None:
            if not is_checked:
                _check_keys(path, row)
                is_checked = True
            row = {column_key(n): text for n, text in row.items() if n == column_key(n) or column_key(n) not in row}
        yield number, row


def _check_keys(path: Path, names: Collection[str]) -> None:
    column_of: dict[str, str] = {}
    for name in names:
        key = column_key(name)
        if key not in names and column_of.setdefault(key, name) != name:
            raise FilmDataError(
                f"{path}: the columns {column_of[key]} and {name} have the same name, apart from capitals, spaces and "
                "underscores. Delete or rename one of them."
            )


def open_csv(path: Path, encoding: str = "utf-8-sig", errors: str = "strict") -> IO[str]:
    """Open a file for the csv module, which handles newlines; UTF-16 is detected by its byte-order mark."""
    try:
        if is_utf16(path):
            encoding, errors = "utf-16", "replace" if errors == "surrogateescape" else errors
        return path.open(encoding=encoding, errors=errors, newline="")
    except OSError as error:
        raise FilmDataError(f"{path} cannot be opened: {error.strerror}.") from error


def _remembered(file: Iterable[str], lines: list[str]) -> Iterator[str]:
    for line in file:
        # Tables that were joined into one file may each begin with a byte-order mark. Read as Windows-1252, it becomes
        # three letters.
        line = line.removeprefix("\ufeff").removeprefix("\xef\xbb\xbf")
        lines.append(line)
        yield line


def _reader(lines: Iterable[str], delimiter: str, strict: bool = False) -> Any:
    # In tables written by hand, quotes may follow the blank after a comma.
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=strict)


def _ends_inside_a_quote(lines: list[str], delimiter: str) -> bool:
    # Only csv's strict mode reports this. It is not used for reading because it also rejects harmless quirks.
    try:
        list(_reader(lines, delimiter, strict=True))
    except csv.Error as error:
        return "unexpected end of data" in str(error)
    return False


def _delimiter(path: Path, skip_lines: int = 0) -> str:
    # Where the comma is the decimal sign, spreadsheets save "CSV" with semicolons.
    with open_csv(path, errors="surrogateescape") as file:
        header = [file.readline(100_000) for _ in range(skip_lines + 1)][-1]
    return max(",;\t", key=header.count)


def _not_utf8(path: Path, error: UnicodeDecodeError) -> FilmDataError:
    if error.reason == "truncated data":  # of UTF-16
        return FilmDataError(ENDS_IN_A_LETTER.format(path))
    return FilmDataError(f"{path} is not UTF-8 text (byte 0x{error.object[error.start]:02x}). {SAVE_AS_UTF8}")
