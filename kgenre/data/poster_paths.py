"""Where the posters of many films lie, in a few bytes a film: a `Path` has several hundred."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kgenre.data.column import Column
from kgenre.data.packed_texts import PackedTexts


class PosterPaths(Column["Path | None"]):
    """Paths, None where a film has no poster.

    Args:
        paths: one for each film.

    Example:
        >>> paths = PosterPaths([Path("posters/tt0084058.jpg"), None])
        >>> paths[0], paths[1], paths == (Path("posters/tt0084058.jpg"), None)
        (PosixPath('posters/tt0084058.jpg'), None, True)
    """

    def __init__(self, paths: Iterable[str | os.PathLike[str] | None] = ()) -> None:
        self._folders: dict[str, int] = {}
        self._folder_of = array("i")  # -1 for None
        self._names = PackedTexts()
        for path in paths:
            self.append(*(None, "") if path is None else os.path.split(path))

    def append(self, folder: str | None, name: str) -> None:
        """Put the path of a file in a folder at the end, or None with None for the folder."""
        self._folder_of.append(-1 if folder is None else self._folders.setdefault(folder, len(self._folders)))
        self._names.append(name)

    def take(self, rows: npt.NDArray[np.integer]) -> PosterPaths:
        """The paths at ``rows``, in that order."""
        taken = PosterPaths()
        taken._folders, taken._names = self._folders, self._names.take(rows)
        taken._folder_of = array("i", np.frombuffer(self._folder_of, np.int32)[rows].tobytes())
        return taken

    @property
    def texts(self) -> PosterPathTexts:
        """The same as strings, for what looks at all of them: to make a `Path` takes as long as to look at its file."""
        return PosterPathTexts(self)

    def __len__(self) -> int:
        return len(self._names)

    def _item(self, index: int) -> Path | None:
        text = self.texts[index]
        return None if text is None else Path(text)

    def __iter__(self) -> Iterator[Path | None]:
        return (None if text is None else Path(text) for text in self.texts)

    def __repr__(self) -> str:
        return f"PosterPaths({len(self)}: {', '.join(map(str, self[:3]))}{', ...' if len(self) > 3 else ''})"


class PosterPathTexts(Column["str | None"]):
    """The strings of `PosterPaths`."""

    def __init__(self, paths: PosterPaths) -> None:
        self._paths = paths
        self._folders = list(paths._folders)

    def __len__(self) -> int:
        return len(self._paths)

    def _item(self, index: int) -> str | None:
        folder = self._paths._folder_of[index]
        return None if folder < 0 else os.path.join(self._folders[folder], self._paths._names[index])

    def __iter__(self) -> Iterator[str | None]:
        folders = self._folders
        for folder, name in zip(self._paths._folder_of, self._paths._names, strict=True):
            yield None if folder < 0 else os.path.join(folders[folder], name)
