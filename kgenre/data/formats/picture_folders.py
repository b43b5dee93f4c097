"""Pictures without a table: in one folder per genre, ``Horror/alien.jpg``, or, for prediction, in a single folder.

Each picture is a film, and its name is the film's id. The same name in two genre folders is one film with both genres;
a note names such pictures that differ.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from kgenre.data.film_table import FilmTable
from kgenre.data.formats.gathered_films import GatheredFilms
from kgenre.data.packed_columns import PosterPaths
from kgenre.data.poster_files import SUFFIXES, UNREAD_SUFFIXES

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
    return _read(root, folders_in(root), "posters in folders by genre")


def has_posters(root: Path) -> bool:
    """Whether there are pictures in ``root`` or in one of its subfolders."""
    return any(map(_pictures, (root, *folders_in(root))))


def read_posters(root: Path) -> FilmTable:
    """Read the pictures in ``root`` or, if it has none, in its first subfolder with pictures, as films without genres.

    Example:
        >>> read_posters(Path("posters")).ids[0]
        'tt0084058'
    """
    folder = next(filter(_pictures, (root, *folders_in(root))))
    return _read(folder, [folder], "posters without a table", genre_names=())


def _read(root: Path, folders: Sequence[Path], layout: str, genre_names: Sequence[str] | None = None) -> FilmTable:
    films = GatheredFilms[tuple[str, ...]](root)
    pictures: dict[str, dict[str, Path]] = {}  # by film, then by genre
    for folder in folders:
        for name in _pictures(folder):
            film = _text(os.path.splitext(name)[0])
            first = pictures.setdefault(film, {}).setdefault(_text(folder.name), folder / name)
            if first.name != name:  # alien.png after alien.jpg
                films.leave_out(film, f"{_text(name)}: {_text(first.name)} is a picture of the same name")
    for film, some in pictures.items():
        films.add(film, genres=tuple(some))
    paths = PosterPaths(next(iter(some.values())) for some in pictures.values())
    films.notes += (*_differing_note(root, pictures), *_unread_note(folders))
    return films.table(layout, tuple, genre_names, poster_paths=paths)


def _pictures(folder: Path) -> list[str]:
    """The sorted names of the pictures in a folder whose format is read."""
    return [name for name in _names(folder) if name.lower().endswith(SUFFIXES)]


def _names(folder: Path) -> list[str]:
    """The sorted names of the visible files in a folder; [] if it cannot be listed, such as a disk's lost+found."""
    with suppress(OSError):
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    return []


def _text(name: str) -> str:
    """A file name as valid text: old archives have names that are not UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _differing_note(root: Path, pictures: Mapping[str, Mapping[str, Path]]) -> tuple[str, ...]:
    several = [[*some.values()] for some in pictures.values() if len(some) > 1]
    differing = [(some[0], other) for some in several if (other := _other_than_first(some))]
    if not differing:
        return ()
    first, second = (_text(os.path.relpath(path, root)) for path in differing[0])
    names, each = ("1 name", "it counts") if len(differing) == 1 else (f"{len(differing):,} names", "each counts")
    return (
        f"{names} in several genre folders, such as {first} and {second}, are of different pictures: {each} as one "
        "film with the genres of these folders, and only its first picture is used. Give different films different "
        "names.",
    )


def _unread_note(folders: Sequence[Path]) -> tuple[str, ...]:
    unread = [folder / name for folder in folders for name in _names(folder) if name.lower().endswith(UNREAD_SUFFIXES)]
    if not unread:
        return ()
    first, them = _text(str(unread[0])), "it" if len(unread) == 1 else "them"
    return (f"Pictures whose format is not read: {len(unread):,}, such as {first}: save {them} as JPEG or PNG.",)


def _other_than_first(pictures: Sequence[Path]) -> Path | None:
    return next((path for path in pictures if _size(path) != _size(pictures[0])), None)


def _size(path: Path) -> int:
    try:
        return os.path.getsize(path)
    except OSError:  # a link to nothing
        return -1
