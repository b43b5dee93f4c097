"""Posters beside a table, found by film id: ``Images/<id>.jpg`` or ``posters/<id>.jpg``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

FOLDERS = ("images", "posters")
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".avif")


class PosterFolder:
    """The posters that lie in ``Images/`` or ``posters/`` (in any case) beside a table.

    ``names`` are the names of such folders, in lower case.

    Example:
        >>> PosterFolder(Path("films")).path_of("tt0084058")
        PosixPath('films/posters/tt0084058.jpg')
    """

    def __init__(self, root: Path, names: Sequence[str] = FOLDERS) -> None:
        self.folders = sorted(p for p in root.iterdir() if p.name.lower() in names and p.is_dir())
        self._found: dict[str, tuple[Path, str]] = {}  # folder and name by stem; few are asked for as paths
        for folder in self.folders:
            # One listing instead of a look at the disk per film and suffix; it also finds "tt1.JPG" on any
            # system.
            with os.scandir(folder) as entries:
                names = [e.name for e in entries if not e.name.startswith(".")]
            for name in names:
                stem, suffix = os.path.splitext(name)
                known = self._found.get(stem)
                if suffix.lower() in SUFFIXES and (
                    known is None or _rank(suffix) < _rank(os.path.splitext(known[1])[1])
                ):
                    self._found[stem] = folder, name

    def path_of(self, film_id: str, *other_names: str) -> Path | None:
        """Where the poster of a film is, or should be; None where there is no poster folder at all.

        ``other_names`` are file names without suffix that it may also have; a file named by the id comes first.
        """
        for name in (film_id, *other_names):
            if name in self._found:
                folder, file_name = self._found[name]
                return folder / file_name
        return self.folders[0] / f"{film_id}.jpg" if self.folders else None


def _rank(suffix: str) -> int:
    return SUFFIXES.index(suffix.lower())
