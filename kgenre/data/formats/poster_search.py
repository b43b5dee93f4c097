"""Find the posters of a table's films by file name, anywhere in the table's folder.

The table may name each film's file, or a link. Otherwise a film's poster is the picture named after its id, one of a
few other names, or the last part of its link. ``Images/`` and ``posters/`` next to the table are searched first; if
they do not have all posters, every other folder below the table's is searched too. The folder with the posters of most
films is used, and the missing ones are taken from the folder with the next most, and so on. A folder other than
``Images/`` and ``posters/`` is skipped if its pictures are mostly of something else: if the share of them named after
films is less than half of that share in the first folder. Ties go to ``Images/`` and ``posters/``, then to the less
deep folder, then to the first by name. A film that still has no poster gets the only picture whose name resembles its
own (`loose_names`). A name that the table gives to several files or links, such as ``tt1/poster.jpg`` and
``tt2/poster.jpg``, says nothing about a film and is not searched for; nor is an id that is the name of another film's
file.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from kgenre.data.formats.loose_names import match_loosely
from kgenre.data.packed_columns import PackedTexts, PosterPaths
from kgenre.data.poster_files import SUFFIXES

FOLDERS = ("images", "posters")  # in upper or lower case
# A table may be in a home folder with everything else. To scan this many files takes a quarter of a second.
MAX_FILES = 200_000
_SHOWN = 3  # folders in a message


def find_posters(
    root: Path,
    ids: Sequence[str],
    posters: PackedTexts,
    other_names: PackedTexts,
) -> tuple[PosterPaths, str]:
    """Find the posters of films.

    Args:
        root: the folder of the table. Symbolic links to folders are not followed, except those named in FOLDERS.
        ids: n ids.
        posters: for each film, the file relative to ``root``, or the link, that the table names; "" if it names none.
        other_names: for each film, names without suffix that its poster may have besides its id, joined by a zero byte.

    Returns:
        n paths (of a missing poster, where it should be; None if that is unknown); and a message with the number of
        posters found and their folders, such as "2,498 of 2,500 in covers/", or "" if there is nothing to report.

    Example:
        >>> find_posters(Path("."), ["tt0084058"], PackedTexts([""]), PackedTexts([""]))[1]
        '1 of 1 in posters/'
    """

    def names_of(row: int) -> Iterator[str]:
        """The names that a film's poster may have, without suffix, the likeliest first."""
        poster, film_id = posters[row], ids[row]
        name = _stem(poster)
        is_own, is_link = poster_of.get(name) == poster, _is_link(poster)
        if is_own and not is_link:  # a path on another machine
            yield name
        of_id = poster_of.get(film_id, poster)
        if of_id == poster or _is_link(of_id):
            yield film_id
        yield from filter(None, other_names[row].split("\0"))
        if is_own and is_link:
            yield name

    top = os.fspath(root)
    is_there = [_is_there(top, poster) for poster in posters]
    missing = [row for row, there in enumerate(is_there) if not there]
    poster_of = _by_name(posters) if missing else {}
    film_of: dict[str, int] = {}  # the names to search for, each with the first film that may have it
    for row in missing:
        for name in names_of(row):
            film_of.setdefault(name, row)
    usual = _usual_folders(top)
    scanned, is_whole = _search(top, usual, film_of)
    ranked = sorted((folder for folder in scanned if folder.films), key=lambda folder: folder.rank)
    folder_of = _choose_folders(ranked, film_of)
    place_of: dict[int, tuple[_Folder, str]] = {}
    lacking: dict[int, list[str]] = {}
    for row in missing:
        names = [*names_of(row)]
        if found := next((name for name in names if name in folder_of), ""):
            place_of[row] = folder_of[found], found
        else:
            lacking[row] = names
    pictures = [folder.pictures for folder in scanned]
    near = match_loosely(lacking, pictures, lambda name: name in film_of or name in poster_of)
    place_of |= {row: (scanned[number], name) for row, (number, name) in near.items()}
    default = ranked[0].path if ranked else usual[0] if usual else ""
    paths, counts = PackedTexts(), Counter[str]()
    for row, poster in enumerate(posters):
        if row in place_of:
            folder, name = place_of[row]
            paths.append(os.path.join(folder.path, name + folder.pictures[name]))
            counts[folder.path] += 1
        elif poster and not _is_link(poster):
            path = os.path.join(top, poster)
            paths.append(path)
            if is_there[row]:
                counts[os.path.dirname(path)] += 1
        else:
            paths.append(default and os.path.join(default, f"{_file_name(ids[row])}.jpg"))
    text = _summary(len(ids), counts, ranked, top)
    if not (text or default):
        text = _unlike_any_film(scanned, ids, top)
    if not is_whole and counts.total() < len(ids):
        text = f"{text or f'0 of {len(ids):,}'}; only the first {MAX_FILES:,} files in {top} were searched"
    return PosterPaths(paths), text


def _is_there(top: str, poster: str) -> bool:
    return poster[-1:] not in ("", "/") and not _is_link(poster) and os.path.lexists(os.path.join(top, poster))


def _is_link(poster: str) -> bool:
    """Whether a poster is a link or, as /alien.jpg, the end of one, and not a file such as posters/alien.jpg."""
    return "://" in poster or poster.rfind("/") == 0


def _by_name(posters: PackedTexts) -> dict[str, str]:
    """The table's file or link by its name without suffix; "" for a name that several have."""
    poster_of: dict[str, str] = {}
    for poster in posters:
        if poster and poster_of.setdefault(name := _stem(poster), poster) != poster:
            poster_of[name] = ""
    return poster_of


def _stem(path: str) -> str:
    return os.path.splitext(_file_name(path))[0]


def _file_name(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


class _Folder(NamedTuple):
    """A folder that was searched."""

    path: str
    is_usual: bool  # one of FOLDERS
    pictures: dict[str, str]  # the suffix by file name without it
    films: int  # whose names pictures have
    share: float  # of its pictures: those named after films
    inner: list[str]  # the folders in it
    entries: int

    @property
    def rank(self) -> tuple[int, bool, int, str]:
        """The sort key that gives the order in which folders are used."""
        return -self.films, not self.is_usual, self.path.count(os.sep), self.path


def _usual_folders(top: str) -> list[str]:
    with suppress(OSError), os.scandir(top) as inside:  # a folder that cannot be read counts as empty
        return sorted(entry.path for entry in inside if entry.name.lower() in FOLDERS and entry.is_dir())
    return []


def _search(top: str, usual: Sequence[str], film_of: Mapping[str, int]) -> tuple[list[_Folder], bool]:
    """Search the ``usual`` folders and, unless they have all films, ``top`` and those below it, up to MAX_FILES files.

    Returns:
        The folders, in the order of the search, and whether none was left.
    """
    if not film_of:
        return [], True
    scanned = {path: _scan(path, True, film_of) for path in usual}
    found = {film_of[name] for folder in scanned.values() for name in folder.pictures if name in film_of}
    below, entries = deque([top] if len(found) < len({*film_of.values()}) else []), 0
    while below and entries < MAX_FILES:  # breadth first
        path = below.popleft()
        if path not in scanned:
            scanned[path] = _scan(path, False, film_of)
            entries += scanned[path].entries
        below.extend(scanned[path].inner)
    return [*scanned.values()], not below


def _scan(path: str, is_usual: bool, film_of: Mapping[str, int]) -> _Folder:
    pictures: dict[str, str] = {}
    inner: list[str] = []
    entries = 0
    # One listing instead of a file access per film and suffix; it also finds "tt1.JPG" on any system.
    with suppress(OSError), os.scandir(path) as found:  # a folder that cannot be read counts as empty
        for entry in found:
            entries += 1
            name, suffix = os.path.splitext(entry.name)
            if name.startswith("."):
                continue
            if suffix.lower() in SUFFIXES:
                if name not in pictures or _rank(suffix) < _rank(pictures[name]):
                    pictures[name] = suffix
            elif entry.is_dir(follow_symlinks=False) and entry.name != "__MACOSX":
                inner.append(entry.path)
    named = [name for name in pictures if name in film_of]
    films = len({film_of[name] for name in named})
    return _Folder(path, is_usual, pictures, films, len(named) / max(len(pictures), 1), sorted(inner), entries)


def _rank(suffix: str) -> tuple[int, str]:
    return SUFFIXES.index(suffix.lower()), suffix


def _choose_folders(ranked: Sequence[_Folder], names: Mapping[str, int]) -> dict[str, _Folder]:
    """The first folder with a picture of each name, among those that are used."""
    folder_of: dict[str, _Folder] = {}
    for folder in ranked:
        if not folder.is_usual and 2 * folder.share < ranked[0].share:
            continue  # pictures of something else, a few of which have a film's id as name by chance
        folder_of = dict.fromkeys((name for name in folder.pictures if name in names), folder) | folder_of
    return folder_of


def _unlike_any_film(scanned: Sequence[_Folder], ids: Sequence[str], top: str) -> str:
    folder = next((folder for folder in scanned if folder.pictures), None)
    if folder is None:
        return ""
    name, suffix = next(iter(folder.pictures.items()))
    example = os.path.relpath(os.path.join(folder.path, name + suffix), top)
    count = sum(len(one.pictures) for one in scanned)
    return f"0 of {len(ids):,}: none of {count:,} pictures, such as {example}, is named after a film, such as {ids[0]}"


def _summary(films: int, counts: Counter[str], folders: Sequence[_Folder], top: str) -> str:
    def shown(path: str) -> str:
        relative = os.path.relpath(path, top)
        return "the folder of the table" if relative == "." else f"{relative}{os.sep}"

    if not counts:
        return ""
    by_count = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    parts = [shown(path) + (f" ({n:,})" if len(by_count) > 1 else "") for path, n in by_count[:_SHOWN]]
    more = f" and {len(by_count) - _SHOWN} more folders" if len(by_count) > _SHOWN else ""
    text = f"{counts.total():,} of {films:,} in {', '.join(parts)}{more}"
    unused = [f"{shown(folder.path)} ({folder.films:,})" for folder in folders if folder.path not in counts]
    return text + (f"; not used: {', '.join(unused[:_SHOWN])}{', ...' * (len(unused) > _SHOWN)}" if unused else "")
