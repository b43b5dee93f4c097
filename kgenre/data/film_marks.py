"""Marks that tell apart different films with the same id: ids may be mere row numbers of a table."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from kgenre.data.overviews import normalised_overview

LETTERS = 8  # in a mark: half of them for the title, half for the overview
UNKNOWN = "........"


def film_marks(titles: Iterable[str], overviews: Iterable[str]) -> npt.NDArray[np.str_]:
    """A mark for each film: four letters hashed from its title, four from its overview, "...." if it has none.

    Case, spacing and, in overviews, punctuation are ignored. Two texts have the same letters by chance in 1 of 16
    million cases.

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
    """Whether each film may be its counterpart in ``others``: a half is equal, or none can be compared; bool (n,)."""
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
