"""What is known of the poster files of many films, in columns: 50 bytes a film, where a tuple of its own has 300."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from kgenre.data.poster_files import PosterFile


class ExaminedPosters(Sequence[PosterFile]):
    """A sequence of `PosterFile`; each is made when it is asked for.

    Args:
        files: n of them, as `examine_posters` gives them.

    Attributes:
        sha256: "S32" (n,), b"" where a file was not read.

    Example:
        >>> ExaminedPosters([PosterFile("the file is empty")])[0].reason
        'the file is empty'
    """

    def __init__(self, files: Sequence[PosterFile]) -> None:
        n = len(files)
        reasons: dict[str, int] = {}
        self._reason_of = np.fromiter((reasons.setdefault(f.reason, len(reasons)) for f in files), np.int32, n)
        self._reasons = list(reasons)
        self._was_read = np.fromiter((bool(f.sha256) for f in files), bool, n)
        self.sha256 = np.fromiter((f.sha256 for f in files), "S32", n)
        self._sizes = np.array([[f.height for f in files], [f.width for f in files]], np.int32)
        self._plain = np.fromiter((f.plain for f in files), bool, n)

    @classmethod
    def of(cls, files: Sequence[PosterFile]) -> ExaminedPosters:
        """``files`` themselves, if they are in columns already."""
        return files if isinstance(files, cls) else cls(files)

    def take(self, rows: npt.NDArray[np.integer]) -> ExaminedPosters:
        """Those at ``rows``, in that order."""
        taken = ExaminedPosters(())
        taken._reasons, taken._reason_of = self._reasons, self._reason_of[rows]
        taken._was_read, taken.sha256 = self._was_read[rows], self.sha256[rows]
        taken._sizes, taken._plain = self._sizes[:, rows], self._plain[rows]
        return taken

    @property
    def reasons(self) -> list[str]:
        """Why each cannot be used; "" where nothing speaks against it."""
        return [self._reasons[number] for number in self._reason_of.tolist()]

    def __len__(self) -> int:
        return len(self._reason_of)

    @overload
    def __getitem__(self, index: int) -> PosterFile: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[PosterFile, ...]: ...

    def __getitem__(self, index: int | slice) -> PosterFile | tuple[PosterFile, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        # NumPy takes zeros at the end of bytes for padding.
        sha256 = self.sha256[index].ljust(32, b"\0") if self._was_read[index] else b""
        height, width = self._sizes[:, index].tolist()
        reason = self._reasons[self._reason_of[index]]
        return PosterFile(reason, bytes(sha256), height, width, bool(self._plain[index]))

    def __iter__(self) -> Iterator[PosterFile]:
        return (self[i] for i in range(len(self)))
