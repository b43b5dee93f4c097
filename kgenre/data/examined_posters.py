"""What is known of the poster files of many films, in columns: 46 bytes a film, where a tuple of its own has 300."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from kgenre.data.packed_columns import Column
from kgenre.data.poster_files import PosterFile

_FIELDS = np.dtype(
    [
        ("reason", np.int32),  # its number
        ("was_read", bool),
        ("sha256", "S32"),
        ("height", np.int32),
        ("width", np.int32),
        ("plain", bool),
    ]
)


class ExaminedPosters(Column[PosterFile]):
    """The `PosterFile` of each film.

    Args:
        files: of each film; they may come one after the other.

    Example:
        >>> ExaminedPosters([PosterFile("the file is empty")])[0].reason
        'the file is empty'
    """

    def __init__(self, files: Iterable[PosterFile] = ()) -> None:
        numbers: dict[str, int] = {}
        rows = (
            (numbers.setdefault(reason, len(numbers)), bool(sha256), sha256, *rest) for reason, sha256, *rest in files
        )
        self._rows = np.fromiter(rows, _FIELDS)
        self._reasons = list(numbers)

    def take(self, rows: npt.NDArray[np.integer]) -> ExaminedPosters:
        """Those at ``rows``, in that order."""
        taken = ExaminedPosters()
        taken._reasons, taken._rows = self._reasons, self._rows[rows]
        return taken

    @property
    def sha256(self) -> npt.NDArray[np.bytes_]:
        """Of the bytes of each, "S32" (n,); b"" where a file was not read."""
        return self._rows["sha256"]

    @property
    def reasons(self) -> list[str]:
        """Why each cannot be used; "" where nothing speaks against it."""
        return [self._reasons[number] for number in self._rows["reason"].tolist()]

    def __len__(self) -> int:
        return len(self._rows)

    def _item(self, index: int) -> PosterFile:
        number, was_read, sha256, height, width, plain = self._rows[index].item()
        # NumPy takes zeros at the end of bytes for padding.
        return PosterFile(self._reasons[number], sha256.ljust(32, b"\0") if was_read else b"", height, width, plain)
