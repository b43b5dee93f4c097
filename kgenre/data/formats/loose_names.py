"""Match posters whose names differ slightly from a film's: in case, Unicode form, leading zeros or a lost ``tt``."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence

from kgenre.data.poster_files import SUFFIXES

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
    names: Mapping[int, Sequence[str]], is_taken: Callable[[str], bool], folders: Iterable[str]
) -> dict[int, tuple[str, str]]:
    """The (folder, file name) of each film's poster, by row, if a single picture in that folder resembles its names.

    A folder counts if at least half of its pictures match films (exactly or loosely), or if its loose matches are at
    least half as many as the films in ``names``.

    Args:
        names: for each film without a poster, by row, the names that its poster may have, without suffix.
        is_taken: whether a picture's name is exactly that of some film.
        folders: the folders to search; those with most matches come first, ties in this order.
    """
    row_of: dict[str, int | None] = {}  # None if it matches names of two films
    for row, some in names.items():
        for name in dict.fromkeys(map(loose_name, some)):
            row_of[name] = row if row_of.get(name, row) == row else None
    found = [(folder, _matches_in(folder, row_of, is_taken, len(names))) for folder in folders]
    places: dict[int, tuple[str, str]] = {}
    for folder, files in sorted(found, key=lambda one: -len(one[1])):
        for row, file in files.items():
            places.setdefault(row, (folder, file))
    return places


def _matches_in(
    folder: str, row_of: Mapping[str, int | None], is_taken: Callable[[str], bool], films: int
) -> dict[int, str]:
    files: dict[int, dict[str, str]] = {}
    exact = pictures = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                stem, suffix = os.path.splitext(entry.name)
                if suffix.lower() not in SUFFIXES or stem.startswith("."):
                    continue
                pictures += 1
                if is_taken(stem):
                    exact += 1
                elif (row := row_of.get(loose_name(stem))) is not None:
                    before = files.setdefault(row, {}).setdefault(stem, suffix)
                    files[row][stem] = min(before, suffix, key=lambda one: (SUFFIXES.index(one.lower()), one))
    except OSError:
        return {}
    only = {row: "".join(*some.items()) for row, some in files.items() if len(some) == 1}
    return only if 2 * (len(only) + exact) >= pictures or 2 * len(only) >= films else {}
