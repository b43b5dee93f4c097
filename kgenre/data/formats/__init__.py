"""Layouts of film data on disk, one reader a file; `read_films` looks at the data and chooses.

A layout is a module with ``FILE_NAME``, ``LAYOUT`` (a line for people), ``missing_columns(header)`` and
``read(csv_path)``.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

from kgenre.data.errors import FilmDataError
from kgenre.data.film_table import FilmTable
from kgenre.data.formats import course, films_csv
from kgenre.data.formats.csv_rows import read_header

# In order of preference: a folder that has both is read as films.csv, which knows titles and years.
FORMATS: dict[str, ModuleType] = {"films": films_csv, "course": course}


def read_films(path: str | os.PathLike[str], format: str = "auto") -> FilmTable:
    """Read films from a folder or a CSV file; ``table.source`` says which layout was found.

    Args:
        path: a folder (or the one folder in it that has film data), or the CSV file itself, under any name.
        format: "auto" looks at the header and takes the first layout that fits, "films" before "course";
            "films" or "course" force one.

    Returns:
        The films. Posters are not opened here; a row that is no film is in ``table.left_out``.

    Raises:
        FilmDataError: no such path, no known layout, columns missing, not UTF-8, or no films.

    Example:
        >>> table = read_films("films")
        >>> table.source, len(table), table.genre_names[:2]
        ('the films.csv layout, films/films.csv', 2500, ('Action', 'Adventure'))
    """
    if format != "auto" and format not in FORMATS:
        raise FilmDataError(f"format={format!r} is not known. Give 'auto', {', '.join(map(repr, FORMATS))}.")
    path = Path(path).expanduser()
    formats = FORMATS if format == "auto" else {format: FORMATS[format]}
    if path.is_dir():
        file, layout = _find(path, formats)
    elif path.is_file():
        file, layout = path, _layout_of(path, formats)
    else:
        known = _closest_parent(path)
        raise FilmDataError(f"No such file or folder: {path} ({known} exists). Give the folder that has the CSV file.")
    return layout.read(file)


def _find(folder: Path, formats: dict[str, ModuleType]) -> tuple[Path, ModuleType]:
    # An unpacked archive often is a folder in a folder; the outer one is what people give.
    inner = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__MACOSX")))
    for root in (folder, inner[0] if len(inner) == 1 else folder):
        tables = sorted(p for p in root.glob("*.csv") if p.is_file() and not p.name.startswith("."))
        for layout in formats.values():
            fitting = [p for p in tables if _fits(p, layout)]
            named = [p for p in fitting if p.name == layout.FILE_NAME] or fitting
            if len(named) > 1:
                raise FilmDataError(
                    f"{root} has {len(named)} files that fit: {_some(p.name for p in named)}. "
                    f"Give one of them, such as {named[0]}."
                )
            if named:
                return named[0], layout
        for layout in formats.values():
            if root / layout.FILE_NAME in tables:  # it has the name but not the columns: say which are missing
                return root / layout.FILE_NAME, _layout_of(root / layout.FILE_NAME, {"": layout})
    found = [p.name + "/" * p.is_dir() for p in sorted(folder.iterdir()) if not p.name.startswith(".")]
    names = {layout.FILE_NAME for layout in formats.values()}
    above = folder.absolute().parent
    if any((above / name).is_file() for name in names):  # the folder of posters was given
        raise FilmDataError(f"{folder} has no table of films, but the folder above it has. Give {above}.")
    layouts = "; or ".join(layout.LAYOUT for layout in formats.values())
    raise FilmDataError(
        f"{folder} has no film data that is known. It has: {_some(found)}.\nGive a folder with {layouts}."
    )


def _fits(file: Path, layout: ModuleType) -> bool:
    try:
        return not layout.missing_columns(read_header(file))
    except FilmDataError:  # someone's other file in the folder need not be readable
        return False


def _layout_of(file: Path, formats: dict[str, ModuleType]) -> ModuleType:
    if file.suffix.lower() in (".zip", ".gz", ".tar", ".rar", ".7z"):
        raise FilmDataError(f"{file} is an archive. Unpack it and give the folder.")
    if file.suffix.lower() not in (".csv", ".tsv", ".txt", ""):
        raise FilmDataError(f"{file} is not a CSV file. Give the CSV file of the films, or its folder.")
    header = read_header(file)
    for layout in formats.values():
        if not layout.missing_columns(header):
            return layout
    missing = " or ".join(
        f"{_some(layout.missing_columns(header))} (for {layout.FILE_NAME})" for layout in formats.values()
    )
    raise FilmDataError(f"{file} lacks the columns {missing}. Its columns: {_some(header)}.")


def _closest_parent(path: Path) -> Path:
    return next((p for p in path.absolute().parents if p.exists()), Path("/"))


def _some(names: object, most: int = 8) -> str:
    names = [str(name) for name in names]
    return (", ".join(names[:most]) + (", ..." if len(names) > most else "")) or "nothing"
