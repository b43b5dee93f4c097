"""Find the posters of a table's films by file name, anywhere in the table's folder.

The table may name each film's file. Otherwise a film's poster is the picture named after its id, or one of a few other
names. ``Images/`` and ``posters/`` next to the table are searched first; if they do not have all posters, every other
folder below the table's is searched too. The folder with the posters of most films is used, and the missing ones are
taken from the folder with the next most, and so on. A folder other than ``Images/`` and ``posters/`` is skipped if its
pictures are mostly of something else: if the share of them named after films is less than half of that share in the
first folder. Ties go to ``Images/`` and ``posters/``, then to the less deep folder, then to the first by name. A film
that still has no poster gets the only picture whose name resembles its own (`loose_names`). A name that the table gives
to several files, such as ``tt1/poster.jpg`` and ``tt2/poster.jpg``, says nothing about a film and is not searched for;
nor is an id that is the name of another film's file.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kgenre.data.formats.loose_names import match_loosely
from kgenre.data.packed_columns import PackedTexts, PosterPaths
from kgenre.data.poster_files import SUFFIXES

FOLDERS = ("images", "posters")  # in upper or lower case
# A table may be in a home folder with everything else. To scan this many files takes a quarter of a second.
MAX_FILES = 200_000
_SHOWN = 3  # folders in a message


class _Folder(NamedTuple):
    """A folder, and its pictures that are named after films."""

    path: str
    named: bool  # one of FOLDERS
    suffixes: dict[str, str]  # by file name without suffix
    films: int
    share: float  # of its pictures: those named after films

    @property
    def rank(self) -> tuple[int, bool, int, str]:
        """The sort key that gives the order in which folders are used."""
        return -self.films, not self.named, self.path.count(os.sep), self.path


def find_posters(
    root: Path,
    ids: Sequence[str],
    files: PackedTexts,
    other_names: PackedTexts,
) -> tuple[PosterPaths, str]:
    """Find the posters of films.

    Args:
        root: the folder of the table. Symbolic links to folders are not followed, except those named in FOLDERS.
        ids: n ids.
        files: for each film, the file that the table names, relative to ``root``; "" if it names none.
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
        file = files[row]
        if file and file_of[name := _stem(file)] == file:  # a path on another machine, or a link
            yield name
        if file_of.get(ids[row], file) == file:
            yield ids[row]
        if others := other_names[row]:
            yield from others.split("\0")

    top = os.fspath(root)
    paths, counts, missing = _named_by_table(top, files)
    file_of = _file_of_each_name(files) if missing else {}
    names: dict[str, int] = {}  # names of posters, each with the first film that may have it
    for row in missing:
        for name in names_of(row):
            names.setdefault(name, row)
    search = _Search(top, names)
    folders = search.folders() if names else []
    chosen, place_of = _choose_folders(folders)
    others = ((row, [*names_of(row)]) for row in missing if search.pictures)
    lacking = {row: own for row, own in others if not any(name in place_of for name in own)}
    near: dict[int, tuple[str, str]] = {}
    if lacking:
        of_table = {os.path.splitext(os.path.basename(file))[0] for file in files}
        near = match_loosely(lacking, lambda name: name in names or name in of_table, search.scanned)
    default = chosen[0].path if chosen else search.named[0] if search.named else ""
    for row in missing:
        found = next((name for name in names_of(row) if name in place_of), None)
        place = near.get(row) if found is None else (place_of[found][0], found + place_of[found][1])
        if place is not None:
            counts[place[0]] += 1
            paths.append(os.path.join(*place))
        elif files[row]:
            paths.append(os.path.join(top, files[row]))
        else:
            paths.append(default and os.path.join(default, f"{_file_name(ids[row])}.jpg"))
    if 0 < len(missing) < len(ids):  # their paths were appended last: restore the films' order
        is_missing = np.zeros(len(ids), bool)
        is_missing[missing] = True
        paths = paths.take(np.argsort(np.argsort(is_missing, kind="stable")))
    text = _summary(len(ids), counts, folders, top)
    if search.example and not text and not default:
        example = os.path.relpath(search.example, top)
        text = (
            f"0 of {len(ids):,}: none of {search.pictures:,} pictures, such as {example}, is named after a film, such "
            f"as {ids[0]}"
        )
    if search.stopped and counts.total() < len(ids):
        text = f"{text or f'0 of {len(ids):,}'}; only the first {MAX_FILES:,} files in {top} were searched"
    return PosterPaths(paths), text


def _named_by_table(top: str, files: PackedTexts) -> tuple[PackedTexts, Counter[str], list[int]]:
    """The existing posters that the table names, their number in each folder, and the rows of all other films."""
    paths, missing = PackedTexts(), []
    counts: Counter[str] = Counter()
    folder_of: dict[str, str] = {}
    for row, file in enumerate(files):
        name = file[file.rfind("/") + 1 :]
        above = file.removesuffix(name)
        if above not in folder_of:
            folder_of[above] = os.path.dirname(os.path.join(top, f"{above}."))
        folder = folder_of[above]
        if name and os.path.lexists(f"{folder}{os.sep}{name}"):
            paths.append(os.path.join(folder, name))
            counts[folder] += 1
        else:
            missing.append(row)
    return paths, counts, missing


def _file_of_each_name(files: PackedTexts) -> dict[str, str]:
    """The table's file by its name without suffix; "" for a name that several of its files have."""
    file_of: dict[str, str] = {}
    for file in files:
        if file and file_of.setdefault(name := _stem(file), file) != file:
            file_of[name] = ""
    return file_of


def _stem(path: str) -> str:
    return os.path.splitext(_file_name(path))[0]


def _file_name(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _choose_folders(folders: Sequence[_Folder]) -> tuple[list[_Folder], dict[str, tuple[str, str]]]:
    """The folders that are used, and the folder and suffix of each poster by its name."""
    chosen: list[_Folder] = []
    place_of: dict[str, tuple[str, str]] = {}
    for folder in folders:
        if chosen and not folder.named and 2 * folder.share < chosen[0].share:
            continue  # pictures of something else, a few of which have a film's id as name by chance
        places = {suffix: (folder.path, suffix) for suffix in set(folder.suffixes.values())}
        before = len(place_of)
        for name, suffix in folder.suffixes.items():
            place_of.setdefault(name, places[suffix])
        if len(place_of) > before:
            chosen.append(folder)
    return chosen, place_of


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


class _Search:
    """A search of ``top`` and the folders below it for pictures with given names.

    Args:
        top: a folder.
        names: the names to look for, each with the number of its film.
    """

    def __init__(self, top: str, names: dict[str, int]) -> None:
        self._top, self._names = top, names
        self.stopped = False  # at MAX_FILES
        self.scanned: list[str] = []  # folders searched
        self.pictures = 0  # in them
        self.example = ""  # the path of one of them
        found: list[str] = []
        with suppress(OSError), os.scandir(top) as inside:  # a folder that cannot be read counts as empty
            found = sorted(entry.name for entry in inside if entry.name.lower() in FOLDERS and entry.is_dir())
        self.named = [os.path.join(top, name) for name in found]
        self._films = len(set(names.values()))

    def folders(self) -> list[_Folder]:
        """The folders that have such pictures, in order of `_Folder.rank`."""
        found, inner = [], {}
        for path in self.named:
            folder, inner[path], _ = self._scan(path)
            found.append(folder)
        if len({self._names[name] for folder in found for name in folder.suffixes}) < self._films:
            found += self._all_others(inner)
        return sorted((folder for folder in found if folder.films), key=lambda folder: folder.rank)

    def _all_others(self, inner: dict[str, list[str]]) -> Iterator[_Folder]:
        level, files = [self._top], 0
        while level:
            below = []
            for path in level:
                if files >= MAX_FILES:
                    self.stopped = True
                    return
                if path not in inner:
                    folder, inner[path], entries = self._scan(path)
                    files += entries
                    yield folder
                below += inner[path]
            level = below

    def _scan(self, path: str) -> tuple[_Folder, list[str], int]:
        """What is found in a folder, its subfolders (sorted), and the number of its entries."""
        suffixes: dict[str, str] = {}
        inner: list[str] = []
        entries = pictures = 0
        try:
            # One listing instead of a file access per film and suffix; it also finds "tt1.JPG" on any system.
            with os.scandir(path) as found:
                for entry in found:
                    entries += 1
                    name = entry.name
                    stem, suffix = os.path.splitext(name)
                    if name.startswith("."):
                        continue
                    if suffix.lower() in SUFFIXES:
                        pictures += 1
                        self.example = self.example or entry.path
                        if stem in self._names and (stem not in suffixes or _rank(suffix) < _rank(suffixes[stem])):
                            suffixes[stem] = suffix
                    elif entry.is_dir(follow_symlinks=False) and name != "__MACOSX":
                        inner.append(entry.path)
        except OSError:  # a folder that cannot be read counts as empty
            pass
        self.scanned.append(path)
        self.pictures += pictures
        films = len({self._names[name] for name in suffixes})
        share = len(suffixes) / max(pictures, 1)
        return _Folder(path, path in self.named, suffixes, films, share), sorted(inner), entries


def _rank(suffix: str) -> tuple[int, str]:
    return SUFFIXES.index(suffix.lower()), suffix
