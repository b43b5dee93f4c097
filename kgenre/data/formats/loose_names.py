"""Posters whose names are nearly those of films: other case, other Unicode form, lost zeros, a lost ``tt``."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence

_NUMBER = re.compile(r"(?:tt)?0*([0-9]+)(?:\.0)?")  # .0 is what pandas makes of ids in a column with gaps


def loose_name(name: str) -> str:
    """What a film's name and that of its poster have in common where a program has changed one of them.

    Example:
        >>> loose_name("tt0084058"), loose_name("84058.0"), loose_name("ALIEN")
        ('84058', '84058', 'alien')
    """
    text = unicodedata.normalize("NFC", name).casefold()
    number = _NUMBER.fullmatch(text)
    return number[1] if number else text


def match_loosely(
    names: Mapping[int, Sequence[str]], taken: Collection[str], folders: Iterable[str], suffixes: Sequence[str]
) -> dict[int, tuple[str, str]]:
    """The folder and file name of films' posters that are the only ones like a name of theirs.

    A folder counts if its pictures that are like names are half of its pictures, or of the films that lack one.

    Args:
        names: of each film without a poster, by its row, what its poster may be called, without suffix.
        taken: names that are exactly some film's.
        folders: to look in, in this order where two have as many.
        suffixes: of pictures, the likeliest first.
    """
    row_of: dict[str, int | None] = {}  # None for what is like the names of two films
    for row, some in names.items():
        for name in dict.fromkeys(map(loose_name, some)):
            row_of[name] = row if row_of.get(name, row) == row else None
    found = [(folder, _like(folder, row_of, taken, suffixes, len(names))) for folder in folders]
    places: dict[int, tuple[str, str]] = {}
    for folder, files in sorted(found, key=lambda one: -len(one[1])):
        for row, file in files.items():
            places.setdefault(row, (folder, file))
    return places


def _like(
    folder: str, row_of: Mapping[str, int | None], taken: Collection[str], suffixes: Sequence[str], films: int
) -> dict[int, str]:
    try:
        stems = [os.path.splitext(file) for file in sorted(os.listdir(folder)) if not file.startswith(".")]
    except OSError:
        return {}
    pictures = [(stem, suffix) for stem, suffix in stems if suffix.lower() in suffixes]
    files: dict[int, dict[str, str]] = {}
    exact = sum(stem in taken for stem, _ in pictures)
    for stem, suffix in sorted(pictures, key=lambda one: -suffixes.index(one[1].lower())):
        row = None if stem in taken else row_of.get(loose_name(stem))
        if row is not None:
            files.setdefault(row, {})[stem] = stem + suffix
    only = {row: next(iter(some.values())) for row, some in files.items() if len(some) == 1}
    return only if 2 * (len(only) + exact) >= len(pictures) or 2 * len(only) >= films else {}
