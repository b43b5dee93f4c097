"""Match posters whose names differ slightly from a film's: in case, Unicode form, leading zeros or a lost ``tt``."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence

_NUMBER = re.compile(r"(?:tt)?0*([0-9]+)(?:\.0)?")  # pandas adds .0 to ids in a column with gaps


def loose_name(name: str) -> str:
    """A name without what programs change in names: case, Unicode form, ``tt``, leading zeros, a final ``.0``.

    Example:
        >>> loose_name("tt0084058"), loose_name("84058.0"), loose_name("ALIEN")
        ('84058', '84058', 'alien')
    """
    text = unicodedata.normalize("NFC", name).casefold()
    number = _NUMBER.fullmatch(text)
    return number[1] if number else text


def match_loosely(
    names: Mapping[int, Sequence[str]], folders: Sequence[Collection[str]], is_taken: Callable[[str], bool]
) -> dict[int, tuple[int, str]]:
    """The folder's number and the picture of each film, by row, if a single picture in a folder resembles its names.

    A folder counts if at least half of its pictures match films (exactly or loosely), or if its loose matches are at
    least half as many as the films in ``names``.

    Args:
        names: for each film without a poster, by row, the names that its poster may have.
        folders: the names of the pictures in each folder; folders with most matches come first, ties in this order.
        is_taken: whether a picture's name is exactly that of some film.
    """
    row_of: dict[str, int | None] = {}  # None if it matches names of two films
    for row, some in names.items():
        for name in dict.fromkeys(map(loose_name, some)):
            row_of[name] = row if row_of.get(name, row) == row else None
    matches = [_matches_in(pictures, row_of, is_taken, len(names)) for pictures in folders] if names else []
    places: dict[int, tuple[int, str]] = {}
    for number, picture_of in sorted(enumerate(matches), key=lambda one: -len(one[1])):
        for row, picture in picture_of.items():
            places.setdefault(row, (number, picture))
    return places


def _matches_in(
    pictures: Collection[str], row_of: Mapping[str, int | None], is_taken: Callable[[str], bool], films: int
) -> dict[int, str]:
    others = [name for name in pictures if not is_taken(name)]
    exact = len(pictures) - len(others)
    found: dict[int, list[str]] = {}
    for name in others:
        if (row := row_of.get(loose_name(name))) is not None:
            found.setdefault(row, []).append(name)
    only = {row: some[0] for row, some in found.items() if len(some) == 1}
    return only if 2 * (len(only) + exact) >= len(pictures) or 2 * len(only) >= films else {}
