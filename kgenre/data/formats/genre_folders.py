"""Posters in folders by genre: ``<genre>/<film>.jpg``. The same file name in two folders is one film of two genres."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from kgenre.data.film_table import FilmTable
from kgenre.data.formats.poster_search import SUFFIXES
from kgenre.data.packed_texts import PackedTexts
from kgenre.data.poster_paths import PosterPaths

LEAST_GENRES = 2


def _genre_folders(root: Path) -> dict[str, list[str]]:
    """{genre: file names}, of the folders in ``root`` that have pictures in them."""
    found = {}
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith((".", "__MACOSX"))):
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if e.name.lower().endswith(SUFFIXES) and not e.name.startswith("."))
        if names:
            found[folder.name] = names
    return found


def read(root: Path) -> FilmTable | None:
    """Read the folders in ``root``; None unless there are two at least. Films are named by their file.

    Example:
        >>> read(Path("posters-by-genre")).genre_names
        ('Drama', 'Horror')
    """
    folders = _genre_folders(root)
    if len(folders) < LEAST_GENRES:
        return None
    names = tuple(folders)
    paths: dict[str, Path] = {}
    genres_of: dict[str, list[int]] = {}
    for column, (genre, files) in enumerate(folders.items()):
        for file in files:
            film = os.path.splitext(file)[0]
            paths.setdefault(film, root / genre / file)
            genres_of.setdefault(film, []).append(column)
    genres = np.zeros((len(paths), len(names)), np.uint8)
    for row, columns in enumerate(genres_of.values()):
        genres[row, columns] = 1
    return FilmTable(
        ids=PackedTexts(paths),
        titles=PackedTexts(("",) * len(paths)),
        years=(None,) * len(paths),
        overviews=PackedTexts(("",) * len(paths)),
        genres=genres,
        genre_names=names,
        poster_paths=PosterPaths(paths.values()),
        source=f"posters in folders by genre, {root}",
    )
