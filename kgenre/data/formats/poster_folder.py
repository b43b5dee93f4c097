"""Posters to predict, in a folder without any table: a film is a picture, and its id is the picture's name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from kgenre.data.film_table import FilmTable
from kgenre.data.formats.poster_search import SUFFIXES
from kgenre.data.packed_texts import PackedTexts
from kgenre.data.poster_paths import PosterPaths


def has_posters(root: Path) -> bool:
    """Whether there are pictures in a folder, or in one that lies in it."""
    return bool(_pictures(root)[1])


def read(root: Path) -> FilmTable:
    """Read the pictures in ``root`` or, if it has none, of the first folder in it that has some.

    Films have no genres and no overviews.

    Example:
        >>> read(Path("posters")).ids[0]
        'tt0084058'
    """
    folder, names = _pictures(root)
    films = {os.path.splitext(name)[0]: folder / name for name in reversed(names)}
    ids = tuple(sorted(films))
    return FilmTable(
        ids=PackedTexts(ids),
        titles=PackedTexts(("",) * len(ids)),
        years=(None,) * len(ids),
        overviews=PackedTexts(("",) * len(ids)),
        genres=np.zeros((len(ids), 0), np.uint8),
        genre_names=(),
        poster_paths=PosterPaths(films[film_id] for film_id in ids),
        source=f"posters without a table, {folder}",
    )


def _pictures(root: Path) -> tuple[Path, list[str]]:
    inner = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith((".", "__MACOSX")))
    for folder in (root, *inner):
        names = sorted(os.listdir(folder)) if os.access(folder, os.R_OK) else []
        if pictures := [name for name in names if name.lower().endswith(SUFFIXES) and not name.startswith(".")]:
            return folder, pictures
    return root, []
