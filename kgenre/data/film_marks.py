"""Marks that tell a film from another one with its id: ids may be no more than the numbers of a table's rows."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from kgenre.data.overviews import normalised_overview

LETTERS = 8  # of a mark: half of them of the title, half of the overview
UNKNOWN = "........"


def film_marks(titles: Iterable[str], overviews: Iterable[str]) -> npt.NDArray[np.str_]:
    """A mark of each film: four letters of its title, four of its overview, "...." for what it lacks.

    Case, blanks and, in overviews, punctuation do not count. Two films of 16 million have the same four letters.

    Returns:
        str (n,) of eight letters.

    Example:
        >>> film_marks(["Alien", "", " ALIEN "], ["", "", "A ship."])
        array(['ki9o....', '........', 'ki9osU2L'], dtype='<U8')
    """
    both = zip(titles, overviews, strict=True)
    marks = [_letters(" ".join(title.casefold().split())) + _letters(normalised_overview(text)) for title, text in both]
    return np.array(marks, f"U{LETTERS}")


def may_be_the_same(some: npt.NDArray[np.str_], others: npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    """Whether films may be those of ``others``, one by one: a half is the same, or none can be compared; bool (n,)."""
    halves = [marks.astype(f"U{LETTERS}").view(f"U{LETTERS // 2}").reshape(-1, 2) for marks in (some, others)]
    comparable = np.all([half != UNKNOWN[: LETTERS // 2] for half in halves], axis=0)
    same = (halves[0] == halves[1]) & comparable
    agree: npt.NDArray[np.bool_] = same.any(axis=1) | ~comparable.any(axis=1)
    return agree


def _letters(text: str) -> str:
    if not text:
        return UNKNOWN[: LETTERS // 2]
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=3).digest()
    return base64.urlsafe_b64encode(digest).decode("ascii")
