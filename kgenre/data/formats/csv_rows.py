"""Read the rows of real-world CSV files: with byte-order marks, semicolons, short rows and unclosed quotes."""

from __future__ import annotations

import csv
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
# A line that is read after the last one: a row of its own, or the end of a field if a quote was never closed.
_END = '\0end of file\0"'

NumberedRow = tuple[int, dict[str, str] | None]


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
        try:
            names = [name.strip() for name in next(_reader(file, skip_lines), [])]
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


def read_rows(path: Path, encoding: str) -> Iterator[NumberedRow]:
    """Each row as (line number, {column: stripped text}); None for a row with too few or too many fields.

    Blank rows are skipped.

    Raises:
        FilmDataError: the file is not in ``encoding`` or not CSV, a column appears twice, a quote is never closed, or
            the file ends inside a quote: it is truncated.
    """
    with open_csv(path, encoding) as file:
        names: list[str] = []
        line = 0
        try:
            reader = _reader(file, end=(_END,))
            for fields in reader:
                first_line, line = line + 1, reader.line_num
                if fields == [_END]:
                    return
                ends_in_a_quote = bool(fields) and fields[-1].endswith(_END.rstrip('"'))
                last_line = line - ends_in_a_quote
                if last_line - first_line > MAX_LINES_OF_A_ROW:
                    raise FilmDataError(
                        f"{path}: a row begins on line {first_line} and ends on line {last_line}. "
                        f'Close the quote (") that was opened near line {first_line}.'
                    )
                if ends_in_a_quote:
                    raise FilmDataError(
                        f"{path} is truncated: it ends inside a quoted field of the row that begins on line "
                        f"{first_line}. Get the whole file, or delete everything from line {first_line} on."
                    )
                fields = [field.strip() for field in fields]
                if first_line == 1:
                    names = fields
                    if twice := next((name for name in names if name and names.count(name) > 1), ""):
                        raise FilmDataError(f"{path}: the column {twice} appears twice. Delete or rename one of them.")
                elif any(fields):
                    is_whole = len(fields) == len(names)
                    yield first_line, dict(zip(names, fields, strict=True)) if is_whole else None
        except csv.Error as error:
            raise FilmDataError(f"{path}, line {line + 1} is not valid CSV ({error}).") from error
        except UnicodeDecodeError as error:
            raise _not_utf8(path, error) from error


def with_column_keys(path: Path, rows: Iterable[NumberedRow]) -> Iterator[NumberedRow]:
    """The same rows with `column_key` as column names; if a table has both "ID" and "id", "id" is kept.

    Raises:
        FilmDataError: columns of the file ``path``, such as "Genres" and "GENRES", have the same key, and none is it.
    """
    name_of: dict[str, str] = {}  # by key; all rows have the same columns
    for number, row in rows:
        if row is not None:
            name_of = name_of or _names_by_key(path, row)
            row = {key: row[name] for key, name in name_of.items()}
        yield number, row


def _names_by_key(path: Path, names: Collection[str]) -> dict[str, str]:
    name_of: dict[str, str] = {}
    for name in names:
        key = column_key(name)
        other = name_of.setdefault(key, key if key in names else name)
        if other not in (name, key):
            raise FilmDataError(
                f"{path}: the columns {other} and {name} have the same name, apart from capitals, spaces and "
                "underscores. Delete or rename one of them."
            )
    return name_of


def open_csv(path: Path, encoding: str = "utf-8-sig", errors: str = "strict") -> IO[str]:
    """Open a file for the csv module, which handles newlines; UTF-16 is detected by its byte-order mark."""
    if is_utf16(path):
        encoding, errors = "utf-16", "replace" if errors == "surrogateescape" else errors
    return path.open(encoding=encoding, errors=errors, newline="")


def _reader(file: IO[str], skip_lines: int = 0, end: tuple[str, ...] = ()) -> Any:
    """A csv reader of the lines after the first ``skip_lines`` and then of ``end``."""
    # Where the comma is the decimal sign, spreadsheets save "CSV" with semicolons.
    header = [file.readline(100_000) for _ in range(skip_lines + 1)][-1]
    file.seek(0)
    # Tables that were joined into one file may each begin with a byte-order mark. Read as Windows-1252, it becomes
    # three letters.
    lines = (line.removeprefix("\ufeff").removeprefix("\xef\xbb\xbf") for line in file)
    rest = itertools.chain(itertools.islice(lines, skip_lines, None), end)
    # In tables written by hand, quotes may follow the blank after a comma.
    return csv.reader(rest, delimiter=max(",;\t", key=header.count), skipinitialspace=True)


def _not_utf8(path: Path, error: UnicodeDecodeError) -> FilmDataError:
    if error.reason == "truncated data":  # of UTF-16
        return FilmDataError(ENDS_IN_A_LETTER.format(path))
    return FilmDataError(f"{path} is not UTF-8 text (byte 0x{error.object[error.start]:02x}). {SAVE_AS_UTF8}")
