"""Memory-saving columns of a table: a Python string takes 50 bytes more than its letters, a `Path` hundreds."""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
import numpy.typing as npt

from kgenre.data.poster_files import PosterFile

Item = TypeVar("Item")
_FIELDS = np.dtype(
    [
        ("reason", np.int32),  # index into `_reasons`
        ("sha256", "S32"),  # b"" where a file was not read
        ("height", np.int32),
        ("width", np.int32),
        ("plain", bool),
    ]
)


class Column(Sequence[Item]):
    """A sequence that equals any other sequence of the same items; ``_item`` creates each item on access."""

    @abstractmethod
    def _item(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Item, ...]: ...

    def __getitem__(self, index: int | slice) -> Item | tuple[Item, ...]:
        if isinstance(index, slice):
            return tuple(self._item(i) for i in range(*index.indices(len(self))))
        return self._item(index)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __repr__(self) -> str:
        first = ", ".join(repr(item) for item in self[:3])
        return f"{type(self).__name__}({len(self)}: {first}{', ...' if len(self) > 3 else ''})"


class PackedTexts(Column[str]):
    """Texts stored as UTF-8 in one buffer, with 8 bytes for the end of each.

    Args:
        texts: the initial texts; `append` adds more.

    Example:
        >>> texts = PackedTexts(["Alien", ""])
        >>> texts[0], len(texts), texts == ("Alien", ""), texts.take(np.array([1, 0]))[1]
        ('Alien', 2, True, 'Alien')
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._letters = bytearray()
        self._ends = array("q", [0])
        self._rows: npt.NDArray[np.intp] | None = None  # set by `take`
        for text in texts:
            self.append(text)

    @classmethod
    def of(cls, texts: Iterable[str]) -> PackedTexts:
        """Pack ``texts``, or return them unchanged if they are packed already."""
        return texts if isinstance(texts, cls) else cls(texts)

    def append(self, text: str) -> None:
        """Add a text at the end. Results of earlier `take` calls do not include it."""
        if self._rows is not None:
            raise TypeError("PackedTexts that `take` returned cannot be appended to.")
        if text:
            self._letters += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._letters))

    def take(self, rows: npt.NDArray[np.integer]) -> PackedTexts:
        """Return the texts at ``rows``, in that order; the buffer is shared, not copied."""
        taken = PackedTexts()
        taken._letters, taken._ends = self._letters, self._ends
        taken._rows = np.asarray(rows, np.intp) if self._rows is None else self._rows[rows]
        return taken

    def add_to(self, key: hashlib._Hash) -> None:
        """Update a hash with the texts. Equal texts may hash differently if `take` returned one of them."""
        rows = b"" if self._rows is None else self._rows.tobytes()
        for part in (memoryview(self._letters), memoryview(self._ends).cast("B"), memoryview(rows)):
            key.update(len(part).to_bytes(8, "big"))
            key.update(part)

    def __len__(self) -> int:
        return len(self._ends) - 1 if self._rows is None else len(self._rows)

    def _item(self, index: int) -> str:
        row = range(len(self))[index] if self._rows is None else self._rows[index]
        return self._letters[self._ends[row] : self._ends[row + 1]].decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        letters, ends = self._letters, self._ends
        for row in range(len(self)) if self._rows is None else self._rows:
            yield letters[ends[row] : ends[row + 1]].decode("utf-8", "surrogatepass")


class PosterPaths(Column["Path | None"]):
    """Paths of posters; None where a film has none.

    Args:
        paths: one for each film. The attribute ``texts`` has them as strings, "" for None, for loops over all of them:
            creating a `Path` takes as long as a stat of its file.

    Example:
        >>> paths = PosterPaths([Path("posters/tt0084058.jpg"), None])
        >>> paths[0], paths[1], paths.texts == ("posters/tt0084058.jpg", "")
        (PosixPath('posters/tt0084058.jpg'), None, True)
    """

    def __init__(self, paths: PackedTexts | Iterable[os.PathLike[str] | None]) -> None:
        if not isinstance(paths, PackedTexts):
            paths = PackedTexts("" if path is None else os.fspath(path) for path in paths)
        self.texts: PackedTexts = paths

    def take(self, rows: npt.NDArray[np.integer]) -> PosterPaths:
        """Return the paths at ``rows``, in that order."""
        return PosterPaths(self.texts.take(rows))

    def __len__(self) -> int:
        return len(self.texts)

    def _item(self, index: int) -> Path | None:
        text = self.texts[index]
        return Path(text) if text else None


class ExaminedPosters(Column[PosterFile]):
    """What is known about the poster file of each film, in 45 bytes each; a tuple takes 300.

    Args:
        files: one for each film; may be a generator.

    Example:
        >>> ExaminedPosters([PosterFile("the file is empty")])[0].reason
        'the file is empty'
    """

    def __init__(self, files: Iterable[PosterFile] = ()) -> None:
        numbers: dict[str, int] = {}
        rows = ((numbers.setdefault(reason, len(numbers)), *rest) for reason, *rest in files)
        self._rows = np.fromiter(rows, _FIELDS)
        self._reasons = list(numbers)

    def take(self, rows: npt.NDArray[np.integer]) -> ExaminedPosters:
        """Return the files at ``rows``, in that order."""
        taken = ExaminedPosters()
        taken._reasons, taken._rows = self._reasons, self._rows[rows]
        return taken

    @property
    def sha256(self) -> npt.NDArray[np.bytes_]:
        """SHA-256 of each file's bytes, "S32" (n,); b"" where a file was not read."""
        return self._rows["sha256"]

    @property
    def reasons(self) -> list[str]:
        """Why each file cannot be used; "" where no problem is known."""
        return [self._reasons[number] for number in self._rows["reason"].tolist()]

    def __len__(self) -> int:
        return len(self._rows)

    def _item(self, index: int) -> PosterFile:
        number, sha256, *rest = self._rows[index].item()
        # NumPy strips trailing zero bytes as padding.
        return PosterFile(self._reasons[number], sha256 and sha256.ljust(32, b"\0"), *rest)
