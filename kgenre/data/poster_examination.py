"""Examination of all posters of a table, in parallel and in chunks; results of earlier runs come from the cache."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from kgenre.data.known_posters import MAX_NAMES, KnownPosters
from kgenre.data.packed_columns import ExaminedPosters
from kgenre.data.poster_files import PosterFile, examine_file, reason_of, refusal, usable_cpus

_FILES_PER_TASK = 32
_NO_POSTER = PosterFile("no poster found")
_Paths = Sequence[str | os.PathLike[str] | None]


def examine_posters(
    paths: _Paths,
    root: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ExaminedPosters:
    """Examine poster files, in parallel; results of earlier runs for unchanged files are taken from the cache.

    Args:
        paths: one for each film; None or "" where a film has no poster.
        root: the folder that must contain every file, after symbolic links are resolved; None for anywhere.
        on_progress: called with (files examined, all files) now and then.

    Example:
        >>> [found] = examine_posters([Path("posters/tt0084058.jpg")])
        >>> found.reason, found.height, found.width
        ('', 450, 300)
    """
    folders = _Folders(root)
    with closing(KnownPosters()) as known, ThreadPoolExecutor(usable_cpus()) as threads:

        def examined() -> Iterator[PosterFile]:
            rest, done = iter(paths), 0
            while some := list(islice(rest, MAX_NAMES)):
                found, new = _look_up(some, folders, known)
                done += len(some) - len(new)
                tasks = [new[first : first + _FILES_PER_TASK] for first in range(0, len(new), _FILES_PER_TASK)]
                each = threads.map(lambda task: [examine_file(one.path) for one in task], tasks)
                for task, files in zip(tasks, each, strict=True):
                    for one, file in zip(task, files, strict=True):
                        found[one.position] = file
                    done += len(task)
                    if on_progress:
                        on_progress(done, len(paths))
                looked_at = ((one.folder, one.name, one.size, one.changed, found[one.position]) for one in new)
                known.write(row for row in looked_at if row[-1].sha256)
                yield from found

        return ExaminedPosters(examined())


class _NewFile(NamedTuple):
    """A file that is not in the cache, or has changed since."""

    position: int
    path: str
    folder: str  # its absolute path
    name: str
    size: int
    changed: int


def _look_up(paths: _Paths, folders: _Folders, known: KnownPosters) -> tuple[list[PosterFile], list[_NewFile]]:
    """Return what is known about files without opening them, and the files that must be opened."""
    found, new = [_NO_POSTER] * len(paths), []
    places = [os.path.split(path or "") for path in paths]
    names: dict[str, list[str]] = {}  # by folder, as given
    for folder, name in places:
        names.setdefault(folder, []).append(name)
    absolute = {folder: os.path.abspath(folder) for folder in names}
    before = {folder: known.read(absolute[folder], some) for folder, some in names.items()}
    for i, (path, (folder, name)) in enumerate(zip(paths, places, strict=True)):
        if not path:
            continue
        try:
            status = folders.status(os.fspath(path), folder)
        except OSError as error:
            found[i] = PosterFile(reason_of(error))
            continue
        # Also ctime: a file unpacked over another one gets its mtime from the archive, in some the same for all files.
        # Hashed (without a random seed, as these are integers), as a time after 2262 does not fit into the cache.
        size, changed = status.st_size, hash((status.st_mtime_ns, status.st_ctime_ns))
        one = before[folder].get(name)
        if one is not None and one[:2] == (size, changed):
            found[i] = one[2]
        else:
            new.append(_NewFile(i, os.fspath(path), absolute[folder], name, size, changed))
    return found, new


class _Folders:
    """Checks that files lie under ``root``; a folder is resolved once, not once for each of its files."""

    def __init__(self, root: Path | None) -> None:
        self.root = os.path.realpath(root) if root else None
        self._inside: dict[str, bool] = {}

    def status(self, path: str, folder: str) -> os.stat_result:
        """Return the status of a file in a folder.

        Raises:
            OSError: there is no such file, or it is refused.
        """
        try:
            status = os.lstat(path)
        except ValueError as error:  # a null byte in its name
            raise FileNotFoundError(path) from error
        if self.root:
            if folder not in self._inside:
                self._inside[folder] = self._is_inside(os.path.realpath(folder))
            is_link = stat.S_ISLNK(status.st_mode)
            if not self._inside[folder] or (is_link and not self._is_inside(os.path.realpath(path))):
                raise OSError(f"the file is outside {self.root}: copy it there")
        if stat.S_ISLNK(status.st_mode):
            status = os.stat(path)
        if reason := refusal(status):
            raise OSError(reason)
        return status

    def _is_inside(self, resolved: str) -> bool:
        return self.root is None or resolved == self.root or resolved.startswith(self.root.rstrip(os.sep) + os.sep)
