"""Why posters of a table are missing: what was looked for, and what is there instead."""

from __future__ import annotations

import os
from pathlib import Path

from kgenre.data.film_table import FilmTable
from kgenre.data.formats.layout_choice import ARCHIVES, some
from kgenre.data.poster_files import SUFFIXES

_SHOWN = 3  # names of files


def why_missing(table: FilmTable) -> str:
    """What was looked for, what is there instead, and whether an archive may have it; "" where no poster is missing.

    Example:
        >>> why_missing(read_films("archived"))
        'there is no folder archived/posters; posters.zip lies beside the table: unpack it'
    """
    paths = table.poster_paths.texts
    missing = [path for path in paths if not os.path.exists(path)]
    if not missing:
        return ""
    example, why = next((Path(path) for path in missing if path), None), ""
    if example:
        why = _instead(example)
    elif len(missing) == len(paths) and not table.posters_found:
        why = "no picture beside the table, or in a folder there, has the name of a film"
    return "; ".join([why] * bool(why) + _archives(table.root))


def _instead(example: Path) -> str:
    if not example.parent.is_dir():
        return f"there is no folder {example.parent}"
    there = sorted(name for name in os.listdir(example.parent) if not name.startswith("."))
    pictures = [name for name in there if name.lower().endswith(SUFFIXES)] or there
    if not pictures:
        return f"{example.parent} is empty"
    return f"{example.parent} has {some(pictures, _SHOWN)}, but no {example.name} and so on"


def _archives(root: Path | None) -> list[str]:
    if root is None or not root.is_dir():
        return []
    found = sorted(file.name for file in root.iterdir() if file.suffix.lower() in ARCHIVES)
    return (
        [f"{some(found, _SHOWN)} {'lies' if len(found) == 1 else 'lie'} beside the table: unpack it"] if found else []
    )
