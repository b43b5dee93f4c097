"""Find a file's layout by its column names, and explain what is wrong with a file or folder that has none."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path

from kgenre.data.errors import FilmDataError, shortened_list
from kgenre.data.formats import mmimdb_hdf5
from kgenre.data.formats.csv_rows import read_header
from kgenre.data.formats.json_rows import JSON_SUFFIXES, read_json_names
from kgenre.data.formats.layout import Layout

ARCHIVES = (".zip", ".gz", ".tar", ".tgz", ".rar", ".7z")
TABLES = (".csv", ".tsv", ".hdf5", *JSON_SUFFIXES)  # that are found in a folder
SPREADSHEETS = (".xlsx", ".xls", ".ods")
_DEPTH = 3
_MOST_FOLDERS = 300  # do not search a whole disk


def _fitting(header: list[str], file: Path, formats: dict[str, Layout]) -> Layout | None:
    # Layouts share columns such as id and genres: the one that requires most of them is the most specific. A file name
    # takes precedence: a films.csv that was made from another table may have kept its columns.
    fitting = [m for m in formats.values() if _kind(file) in m.kinds and not m.missing_columns(header)]
    return max(fitting, key=lambda layout: (file.name == layout.file_name, len(layout.columns)), default=None)


def layout_of(file: Path, formats: dict[str, Layout]) -> Layout:
    """The layout that fits the file a user gave.

    Raises:
        FilmDataError: none does; the message names the missing columns, or what else the file is.

    Example:
        >>> layout_of(Path("films/films.csv"), FORMATS).file_name
        'films.csv'
    """
    if file.suffix.lower() in ARCHIVES:
        raise FilmDataError(f"{file} is an archive. Unpack it and give the folder.")
    if file.suffix.lower() not in (".csv", ".tsv", ".txt", ".hdf5", "", *JSON_SUFFIXES):
        raise FilmDataError(f"{file} is not a CSV file. Give the CSV or JSON file of the films, or its folder.")
    header = _names(file)
    if layout := _fitting(header, file, formats):
        return layout
    if not any(_kind(file) in layout.kinds for layout in formats.values()):
        raise FilmDataError(f"{file} does not have this layout: {layouts(formats)}.")
    if _kind(file) == ".csv":
        _check_first_line(file, header, formats)
    of_kind = [layout for layout in formats.values() if _kind(file) in layout.kinds]
    closest = sorted(of_kind, key=lambda layout: len(layout.missing_columns(header)) / len(layout.columns))
    missing = " or ".join(
        f"{shortened_list(layout.missing_columns(header))} (for {layout.file_name})" for layout in closest[:2]
    )
    message = f"{file} lacks the columns {missing}. Its columns: {shortened_list(header)}."
    if _kind(file) == ".csv" and len(formats) > 1:
        message += (
            "\nIn your own table, name the columns id, genres (joined by |), overview and poster (a relative path)."
        )
    raise FilmDataError(message)


def _check_first_line(file: Path, header: list[str], formats: dict[str, Layout]) -> None:
    if header[:1] and header[0].startswith("version https://git-lfs"):
        raise FilmDataError(f"{file} is only a pointer to the file in Git LFS. Get the file itself: git lfs pull.")
    if any(name.isdecimal() or "://" in name for name in header):
        raise FilmDataError(
            f"{file} has no header: its first line is a film ({shortened_list(header, 5)}).\n"
            "Put the column names in the first line, such as id,title,year,overview,genres,poster."
        )
    second = read_header(file, skip_lines=1)
    if layout := _fitting(second, file, formats):
        raise FilmDataError(
            f"{file}: the first line is {shortened_list(header)!r}, and the second has the columns of "
            f"{layout.file_name}. Delete the first line."
        )


def advice_for(folder: Path, table_names: Collection[str]) -> str:
    """Advice for a message: give a subfolder or file, unpack an archive, save a spreadsheet as CSV; or "".

    Args:
        folder: the given folder, which has no known table.
        table_names: the names of known tables.

    Example:
        >>> advice_for(Path("downloads"), {"films.csv"})
        'A subfolder has films.csv: give downloads/course/films.'
    """
    # Not `Path.is_file`, which raises an error in a folder that may not be entered, such as a disk's lost+found.
    inside = islice(_folders(folder, _DEPTH), _MOST_FOLDERS)
    below = [(f, tables) for f in inside if (tables := [n for n in table_names if os.path.isfile(f / n)])]
    if len(below) == 1:
        [(inner, tables)] = below
        return f"A subfolder has {tables[0]}: give {inner}."
    if below:
        return f"Subfolders have tables of films: give one of them, such as {below[0][0]}."
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    stems = {Path(name).stem for name in table_names}
    for file in files:
        if file.suffix.lower() in ARCHIVES:
            return f"Unpack {file.name} and give the folder that has its files."
        if file.suffix.lower() in SPREADSHEETS:
            return f"Save {file.name} as 'CSV UTF-8', under the same name in the same folder."
        if file.stem in stems | {*table_names} and file.suffix.lower() not in TABLES:  # films.txt, films.csv.txt
            return f"If {file.name} is the table of films, give the file itself: {file}."
    return ""


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            inner = sorted(e.path for e in entries if e.is_dir(follow_symlinks=False) and not e.name.startswith("."))
    except OSError:
        return
    for path in inner:
        yield Path(path)
    for path in inner if depth > 1 else ():
        yield from _folders(Path(path), depth - 1)


def _names(file: Path) -> list[str]:
    if _kind(file) == ".hdf5":
        return mmimdb_hdf5.names_in(file)
    return read_json_names(file) if _kind(file) == ".json" else read_header(file)


def _kind(file: Path) -> str:
    suffix = file.suffix.lower()
    return ".json" if suffix in JSON_SUFFIXES else ".hdf5" if suffix == ".hdf5" else ".csv"


def layouts(formats: dict[str, Layout]) -> str:
    """The layouts for a message: the first two in full, the others by file name."""
    first, others = list(formats.values())[:2], list(formats.values())[2:]
    names = f"; or a file such as {shortened_list((m.file_name for m in others), 20)}" if others else ""
    return "; or ".join(f"{layout.file_name} {layout.about}" for layout in first) + names
