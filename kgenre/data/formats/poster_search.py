"""The posters of a table's films, found by their names, wherever they lie in the folder of the table.

The table may name each film's file. Else a film's poster is the picture file that is named by its id, or by one of
a few other names. ``Images/`` and ``posters/`` beside the table are looked through first; if these do not have all, so
is every other folder in the table's own. The folder that has the posters of most films is taken; what it lacks comes
from the folder that has most after it, unless the pictures there are mostly of something else: unless the share of
them that are named by films is less than half of that share in the first one. Of folders with as many, ``Images/`` and
``posters/`` come first, then the one less deep, then the first by name. A film that has none then gets the only picture
that is nearly called like it (`loose_names`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kgenre.data.formats.loose_names import match_loosely
from kgenre.data.packed_columns import PackedTexts, PosterPaths
from kgenre.data.poster_files import SUFFIXES

FOLDERS = ("images", "posters")  # in any case
# A table may lie beside everything that somebody has. So many files take a quarter of a second to look through.
MAX_FILES = 200_000
_SHOWN = 3  # folders in a line


class _Folder(NamedTuple):
    """A folder with posters: its pictures that are named by films."""

    path: str
    named: bool  # as folders of posters are
    suffixes: dict[str, str]  # by the name without it
    films: int
    share: float  # of its pictures that are named by films

    @property
    def rank(self) -> tuple[int, bool, int, str]:
        """Folders are taken in this order."""
        return -self.films, not self.named, self.path.count(os.sep), self.path


def find_posters(
    root: Path,
    ids: Sequence[str],
    files: PackedTexts,
    other_names: PackedTexts,
) -> tuple[PosterPaths, str]:
    """Find the posters of films.

    Args:
        root: the folder of the table. Links to folders in it are not followed, but for those in FOLDERS.
        ids: n ids.
        files: of each film the file that the table names, relative to ``root``; "" where it names none.
        other_names: of each film names without suffix that its poster may have beside the id, joined by a zero byte.

    Returns:
        n paths: of a poster that is missing, where it should be, None where nobody can say; and how many there are and
        in which folders, for people, such as "2,498 of 2,500 in covers/"; "" for none.

    Example:
        >>> find_posters(Path("."), ["tt0084058"], PackedTexts([""]), PackedTexts([""]))[1]
        '1 of 1 in posters/'
    """

    def names_of(row: int) -> Iterator[str]:
        """The names of a film's poster without suffix, the likeliest first."""
        if files[row]:  # a path of another machine, or a link
            yield os.path.splitext(_last(files[row]))[0]
        yield ids[row]
        if others := other_names[row]:
            yield from others.split("\0")

    top = os.fspath(root)
    paths, counts, missing = _named_by_table(top, files)
    names: dict[str, int] = {}  # that posters may have, each with the first film that may have it
    for row in missing:
        for name in names_of(row):
            names.setdefault(name, row)
    search = _Search(top, names)
    folders = search.folders() if names else []
    chosen, place_of = _places(folders)
    others = ((row, [*names_of(row)]) for row in missing if search.pictures)
    lacking = {row: own for row, own in others if not any(name in place_of for name in own)}
    near: dict[int, tuple[str, str]] = {}
    if lacking:
        of_table = {os.path.splitext(os.path.basename(file))[0] for file in files}
        near = match_loosely(lacking, lambda name: name in names or name in of_table, search.looked)
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
            paths.append(default and os.path.join(default, f"{_last(ids[row])}.jpg"))
    if 0 < len(missing) < len(ids):  # they stand at the end
        is_missing = np.zeros(len(ids), bool)
        is_missing[missing] = True
        paths = paths.take(np.argsort(np.argsort(is_missing, kind="stable")))
    text = _found(len(ids), counts, folders, top)
    if search.example and not text and not default:
        example = os.path.relpath(search.example, top)
        text = (
            f"0 of {len(ids):,}: {search.pictures:,} pictures, such as {example}, have no film's name, such as {ids[0]}"
        )
    if search.stopped and counts.total() < len(ids):
        text = f"{text or f'0 of {len(ids):,}'}; only the first {MAX_FILES:,} files in {top} were looked through"
    return PosterPaths(paths), text


def _named_by_table(top: str, files: PackedTexts) -> tuple[PackedTexts, Counter[str], list[int]]:
    """The posters that the table names and that are there, how many are in each folder, and the rows of all others."""
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


def _last(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _places(folders: Sequence[_Folder]) -> tuple[list[_Folder], dict[str, tuple[str, str]]]:
    """The folders that are taken, and the folder and suffix of each poster by its name."""
    chosen: list[_Folder] = []
    place_of: dict[str, tuple[str, str]] = {}
    for folder in folders:
        if chosen and not folder.named and 2 * folder.share < chosen[0].share:
            continue  # pictures of something else, a few of them with a film's number by chance
        places = {suffix: (folder.path, suffix) for suffix in set(folder.suffixes.values())}
        before = len(place_of)
        for name, suffix in folder.suffixes.items():
            place_of.setdefault(name, places[suffix])
        if len(place_of) > before:
            chosen.append(folder)
    return chosen, place_of


def _found(films: int, counts: Counter[str], folders: Sequence[_Folder], top: str) -> str:
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
    """Looks through the folders under ``top`` for pictures with one of some names.

    Args:
        top: a folder.
        names: what to look for, and a number by which names of one film are told.
    """

    def __init__(self, top: str, names: dict[str, int]) -> None:
        self._top, self._names = top, names
        self.stopped = False  # at MAX_FILES
        self.looked: list[str] = []  # folders
        self.pictures = 0  # in them
        self.example = ""  # one of these
        with os.scandir(top) as inside:
            found = sorted(entry.name for entry in inside if entry.name.lower() in FOLDERS and entry.is_dir())
        self.named = [os.path.join(top, name) for name in found]
        self._films = len(set(names.values()))

    def folders(self) -> list[_Folder]:
        """The folders that have such pictures, the one with the pictures of most films first."""
        found, inner = [], {}
        for path in self.named:
            folder, inner[path], _ = self._look(path)
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
                    folder, inner[path], entries = self._look(path)
                    files += entries
                    yield folder
                below += inner[path]
            level = below

    def _look(self, path: str) -> tuple[_Folder, list[str], int]:
        """What a folder has; the folders in it, sorted; and how many entries."""
        suffixes: dict[str, str] = {}
        inner: list[str] = []
        entries = pictures = 0
        try:
            # One listing instead of a look at the disk per film and suffix; it also finds "tt1.JPG" on any system.
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
        except OSError:  # a folder that may not be read has nothing for us
            pass
        self.looked.append(path)
        self.pictures += pictures
        films = len({self._names[name] for name in suffixes})
        share = len(suffixes) / max(pictures, 1)
        return _Folder(path, path in self.named, suffixes, films, share), sorted(inner), entries


def _rank(suffix: str) -> tuple[int, str]:
    return SUFFIXES.index(suffix.lower()), suffix
