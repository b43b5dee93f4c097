"""The words that the TF-IDF baseline counts, in all scripts."""

from __future__ import annotations

import functools
import re
import unicodedata
from itertools import pairwise

from kgenre.data.text_words import UNSPACED_LETTER


def baseline_words(text: str) -> list[str]:
    """Return lowercase words of two letters or more, in English the same as scikit-learn's ``TfidfVectorizer``.

    Its pattern splits words at the vowel signs of Hindi and similar scripts, and takes a Chinese clause for one word:
    here signs belong to their words, and in scripts without spaces each letter and each pair of adjacent letters is a
    word, as in Lucene's CJKBigramFilter with unigrams.

    Example:
        >>> baseline_words("A ship, the Дом"), baseline_words("युद्ध"), baseline_words("宇宙船")
        (['ship', 'the', 'дом'], ['युद्ध'], ['宇', '宙', '船', '宇宙', '宙船'])
    """
    found: list[str] = re.findall(r"\w{2,}" if text.isascii() else _pattern(), text.lower())
    if text.isascii() or not UNSPACED_LETTER.search(text):
        return [word for word in found if len(word) > 1]
    words: list[str] = []
    for run in found:
        if UNSPACED_LETTER.match(run):
            words += [*run, *(a + b for a, b in pairwise(run))]
        elif len(run) > 1:
            words.append(run)
    return words


@functools.cache
def _pattern() -> str:
    signs = "".join(chr(code) for code in range(0x10000) if unicodedata.category(chr(code)).startswith("M"))
    unspaced = UNSPACED_LETTER.pattern[1:-1]
    return rf"[{unspaced}]+|(?:(?![{unspaced}])[\w{signs}])+"
