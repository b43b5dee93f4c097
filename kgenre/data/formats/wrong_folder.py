"""What somebody may have meant who gave a folder without a table of films."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path

from kgenre.data.formats.layout_choice import ARCHIVES

SPREADSHEETS = (".xlsx", ".xls", ".ods")
_DEPTH = 3
_MOST_FOLDERS = 300  # a folder of a whole disk need not be searched


def what_to_give(folder: Path, table_names: Collection[str]) -> str:
    """What to do, for a message: give a folder further down, unpack an archive, save a spreadsheet; "" if neither.

    Args:
        folder: the folder that was given; it has no table that is known.
        table_names: the names of tables that are known.

    Example:
        >>> what_to_give(Path("downloads"), {"films.csv"})
        'A folder in it has films.csv: give downloads/course/films.'
    """
    below = [f for f in islice(_folders(folder, _DEPTH), _MOST_FOLDERS) if any((f / n).is_file() for n in table_names)]
    if len(below) == 1:
        table = next(name for name in table_names if (below[0] / name).is_file())
        return f"A folder in it has {table}: give {below[0]}."
    if below:
        return f"Folders in it have tables of films: give one of them, such as {below[0]}."
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    stems = {Path(name).stem for name in table_names}
    for file in files:
        if file.suffix.lower() in ARCHIVES:
            return f"Unpack {file.name} and give the folder that has its files."
        if file.suffix.lower() in SPREADSHEETS:
            return f"Save {file.name} as 'CSV UTF-8', under the same name in the same folder."
        if file.stem in stems:  # films.txt
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
