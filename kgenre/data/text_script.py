"""In which scripts overviews are written, and what `FilmData` must be told to read them as words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from kgenre.data.text_words import UNSPACED_LETTER

_SOME = 2000  # texts tell what all are like
_MANY = 0.2  # of the letters


def how_to_split(overviews: Sequence[str], standardize: str | None, word_split: str) -> list[str]:
    """A line on what to set where a fifth of the letters is of a script that the settings do not know.

    Example:
        >>> how_to_split(["宇宙船。"], "unicode", "whitespace")
        ['The overviews have no blanks between words: --data.word_split character takes each letter as one.']
        >>> how_to_split(["A ship."], "lower", "whitespace")
        []
    """
    texts = list(islice(overviews, _SOME))
    letters = sum(sum(map(str.isalpha, text)) for text in texts)
    unspaced = sum(len(UNSPACED_LETTER.findall(text)) for text in texts if not text.isascii())
    other = sum(sum(c.isalpha() and not c.isascii() for c in text) for text in texts if not text.isascii())
    if unspaced > _MANY * letters and word_split == "whitespace":
        option = "--data.word_split character" + (" --data.standardize unicode" if standardize != "unicode" else "")
        return [f"The overviews have no blanks between words: {option} takes each letter as one."]
    if other > _MANY * letters and standardize not in ("unicode", None):
        return [
            f"--data.standardize {standardize} knows letters and punctuation of English only; with unicode instead, "
            "capitals and marks of other alphabets make no other words."
        ]
    return []
