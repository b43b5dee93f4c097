"""Read films in JSON as rows of text: from a list, from a list under one key, or from columns keyed by row number.

JSONL files (one object per line) and Parquet tables, which need pyarrow, are read too.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kgenre.data.errors import FilmDataError
from kgenre.data.formats.csv_rows import NumberedRow

JSON_SUFFIXES = (".json", ".jsonl", ".ndjson", ".parquet")


def read_json_names(path: Path) -> list[str]:
    """The field names of all films, as each may lack some; for an object without a list of films, its own keys.

    Raises:
        FilmDataError: not JSON.
    """
    data = _load(path)
    films = _films(data)
    if films is None:
        return list(data) if isinstance(data, dict) else []
    return _names(films)


def read_json_rows(path: Path) -> Iterator[NumberedRow]:
    """Each film as (number from 1, {name: text}); None for an entry that is not an object.

    Every row has all names that occur in the file, with "" for a missing value; lists and objects become JSON text,
    as in a CSV file.

    Raises:
        FilmDataError: not JSON, or no list of films.

    Example:
        >>> next(read_json_rows(Path("films.json")))
        (1, {'title': 'Alien', 'year': '1979', 'genres': '["Horror", "Sci-Fi"]'})
    """
    films = _films(_load(path))
    if films is None:
        raise FilmDataError(f"{path} has no list of films. Give a JSON file with a list of objects, one per film.")
    names = _names(films)
    for number, film in enumerate(films, 1):
        yield number, {name: as_text(film.get(name)) for name in names} if isinstance(film, dict) else None


def _names(films: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(name for film in films if isinstance(film, dict) for name in film))


def _load(path: Path) -> Any:
    if path.suffix.lower() == ".parquet":
        return _parquet(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FilmDataError(f"{path} is not UTF-8 text. Save it as UTF-8.") from error
    if path.suffix.lower() != ".json":
        return _lines(path, text)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise FilmDataError(
            f"{path}, line {error.lineno} is not valid JSON ({error.msg}). Get the whole file, or one in JSON."
        ) from error
    except (ValueError, RecursionError) as error:  # a number with thousands of digits, deep nesting
        raise FilmDataError(f"{path} cannot be read ({error}). Give a JSON file with a list of films.") from error


def _lines(path: Path, text: str) -> list[Any]:
    films = []
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        try:
            if line.strip():
                films.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise FilmDataError(
                f"{path}, line {number} is not valid JSON ({error}). Each line must be one film."
            ) from error
    return films


def _parquet(path: Path) -> list[Any]:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise FilmDataError(f"{path} is a Parquet file: pip install pyarrow, or save it as CSV or JSONL.") from error
    try:
        return pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        reason = (str(error).splitlines() or [""])[0][:100]
        raise FilmDataError(f"{path} cannot be read as Parquet ({reason}). Get the whole file.") from error


def _films(data: Any) -> list[Any] | None:
    if isinstance(data, list):
        return data
    if not isinstance(data, dict):
        return None
    columns = list(data.values())
    # What pandas' to_json writes: {"title": {"0": ..., "1": ...}, ...}
    if all(isinstance(column, dict) for column in columns):
        rows = dict.fromkeys(number for column in columns for number in column)
        return [{name: column[row] for name, column in data.items() if row in column} for row in rows]
    lists = [value for value in columns if isinstance(value, list) and any(isinstance(v, dict) for v in value)]
    return lists[0] if len(lists) == 1 else None


def as_text(value: Any) -> str:
    """A JSON value as the text of a table's cell; "" for None and NaN."""
    if value is None or value != value:  # NaN, as Python's json writes the missing values of pandas
        return ""
    text = value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate, such as "\\ud83c", cannot be encoded
