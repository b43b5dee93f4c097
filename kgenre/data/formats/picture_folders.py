"""Pictures without a table: in one folder per genre, ``Horror/alien.jpg``, or, for prediction, in a single folder.

Each picture is a film, and its name is the film's id. The same name in two genre folders is one film with both genres;
a note names such pictures that differ.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kgenre.data.film_table import FilmTable, LeftOut
from kgenre.data.packed_columns import PackedTexts, PosterPaths
from kgenre.data.poster_files import SUFFIXES

LEAST_GENRES = 2


def folders_in(root: Path) -> list[Path]:
    """The subfolders of ``root`` in order of their names, except hidden ones and the ``__MACOSX`` of archives."""
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith((".", "__MACOSX")))


def has_genres(root: Path) -> bool:
    """Whether ``root`` has at least two subfolders with pictures."""
    return sum(bool(_pictures(folder)) for folder in folders_in(root)) >= LEAST_GENRES


def read_genres(root: Path) -> FilmTable:
    """Read the pictures in the subfolders of ``root``, each of which is a genre.

    Example:
        >>> read_genres(Path("posters-by-genre")).genre_names
        ('Drama', 'Horror')
    """
    films_of: dict[str, dict[str, Path]] = {}
    left_out: list[LeftOut] = []
    for folder in folders_in(root):
        if names := _pictures(folder):
            films_of[_text(folder.name)] = _films(folder, names, left_out)
    films: dict[str, Path] = {}
    differing: dict[str, Path] = {}  # the second picture of a film with different ones
    for some in films_of.values():
        for film, path in some.items():
            first = films.setdefault(film, path)
            if first is not path and _size(first) != _size(path):
                differing.setdefault(film, path)
    genres = np.array([[film in some for some in films_of.values()] for film in films], np.uint8)
    notes = _differing_note(root, films, differing)
    return _table(films, tuple(films_of), genres, f"posters in folders by genre, {root}", left_out, notes)


def _size(path: Path) -> int:
    try:
        return os.path.getsize(path)
    except OSError:  # a link to nothing
        return -1


def _differing_note(root: Path, films: Mapping[str, Path], differing: Mapping[str, Path]) -> tuple[str, ...]:
    if not differing:
        return ()
    film, second = next(iter(differing.items()))
    first, other = (_text(os.path.relpath(path, root)) for path in (films[film], second))
    names, each = ("1 name", "it counts") if len(differing) == 1 else (f"{len(differing):,} names", "each counts")
    return (
        f"{names} in several genre folders, such as {first} and {other}, are of different pictures: {each} as one film "
        "with the genres of these folders, and only its first picture is used. Give different films different names.",
    )


def has_posters(root: Path) -> bool:
    """Whether there are pictures in ``root`` or in one of its subfolders."""
    return bool(_folder_and_posters(root)[1])


def read_posters(root: Path) -> FilmTable:
    """Read the pictures in ``root`` or, if it has none, in its first subfolder with pictures, as films without genres.

    Example:
        >>> read_posters(Path("posters")).ids[0]
        'tt0084058'
    """
    folder, names = _folder_and_posters(root)
    left_out: list[LeftOut] = []
    films = dict(sorted(_films(folder, names, left_out).items()))
    return _table(films, (), np.zeros((len(films), 0), np.uint8), f"posters without a table, {folder}", left_out)


def _folder_and_posters(root: Path) -> tuple[Path, list[str]]:
    return next(((folder, names) for folder in (root, *folders_in(root)) if (names := _pictures(folder))), (root, []))


def _pictures(folder: Path) -> list[str]:
    """The sorted names of the pictures in a folder; [] if it may not be read, such as a disk's lost+found."""
    names = sorted(os.listdir(folder)) if os.access(folder, os.R_OK) else []
    return [name for name in names if name.lower().endswith(SUFFIXES) and not name.startswith(".")]


def _films(folder: Path, names: Sequence[str], left_out: list[LeftOut]) -> dict[str, Path]:
    """The pictures by film id; of two with the same id, such as alien.jpg and alien.png, the second is left out."""
    films: dict[str, Path] = {}
    for name in names:
        film = _text(os.path.splitext(name)[0])
        if films.setdefault(film, folder / name).name != name:
            left_out.append(LeftOut(film, f"{_text(name)}: {_text(films[film].name)} is a picture of the same name"))
    return films


def _text(name: str) -> str:
    """A file name as valid text: old archives have names that are not UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _table(
    films: Mapping[str, Path],
    names: tuple[str, ...],
    genres: npt.NDArray[np.uint8],
    source: str,
    left_out: Sequence[LeftOut],
    notes: tuple[str, ...] = (),
) -> FilmTable:
    nothing = ("",) * len(films)
    return FilmTable(
        ids=PackedTexts(films),
        titles=PackedTexts(nothing),
        years=(None,) * len(films),
        overviews=PackedTexts(nothing),
        genres=genres,
        genre_names=names,
        poster_paths=PosterPaths(films.values()),
        source=source,
        left_out=tuple(left_out),
        notes=notes,
    )
