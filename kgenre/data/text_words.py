"""Splitting texts into words: as Keras's TextVectorization does, or in a way that handles non-Latin scripts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import islice
from typing import Any

from kgenre.data.errors import check_choice

STANDARDIZE = ("lower_and_strip_punctuation", "lower", "strip_punctuation", "unicode", None)
WORD_SPLIT = ("whitespace", "character")
# What Keras's TextVectorization strips.
PUNCTUATION = "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"
_MARKS = PUNCTUATION.encode()
# Letters of scripts without blanks between words: Thai, Lao, Tibetan, Burmese, Khmer; kana and Chinese characters.
_UNSPACED = (
    "\u0e01-\u0eff\u0f40-\u0fbc\u1000-\u1049\u1780-\u17d3\u3005-\u3007\u3041-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
UNSPACED_LETTER = re.compile(f"[{_UNSPACED}]")
_SOME = 2000  # texts, as a sample of all
_MANY = 0.2  # of the letters


class TextWords:
    """Splits a text into words, as UTF-8.

    Args:
        standardize: one of STANDARDIZE, how a text is normalised before it is split. Keras's three handle only the
            letters and punctuation of ASCII: "Дом" and "дом", "«дом»" and "дом" are different words to them. "unicode"
            lowercases the letters of all scripts, unifies compatible forms of a letter (NFKC,
            https://unicode.org/reports/tr15/) and turns each punctuation mark and space of Unicode into a blank.
        word_split: one of WORD_SPLIT: "whitespace", or "character" for texts without blanks between words: each letter
            of Chinese, Japanese, Thai and the like is a word; letters of other scripts are split at blanks.
        stem: None, or the language whose Snowball stemmer removes word endings, such as "english".

    Raises:
        FilmDataError: an unknown ``standardize`` or ``word_split``.

    Example:
        >>> [word.decode() for word in TextWords("unicode", "character")("NASA的飞船。")]
        ['nasa', '的', '飞', '船']
    """

    def __init__(self, standardize: str | None, word_split: str = "whitespace", stem: str | None = None) -> None:
        check_choice("standardize", standardize, STANDARDIZE)
        check_choice("word_split", word_split, WORD_SPLIT)
        self._lower = standardize in ("lower_and_strip_punctuation", "lower")
        self._strip = standardize in ("lower_and_strip_punctuation", "strip_punctuation")
        self._unicode, self._characters = standardize == "unicode", word_split == "character"
        self._stemmer: Any = None  # a Snowball stemmer
        self._stems: dict[bytes, bytes] = {}  # stemming a word takes 20 us, and most words recur
        if stem is not None:
            import snowballstemmer

            self._stemmer = snowballstemmer.stemmer(stem)

    def pieces(self, text: str) -> list[str]:
        """Cut the unchanged text where words end: the words of its pieces, concatenated, are the words of the text.

        A piece may have no word (a dash) or several ("l'homme" with "unicode").
        """
        text = self._apart(text)
        if self._unicode:
            return text.split()
        return [piece.decode("utf-8", "surrogatepass") for piece in text.encode("utf-8", "surrogatepass").split()]

    def _apart(self, text: str) -> str:
        return UNSPACED_LETTER.sub(r" \g<0> ", text) if self._characters else text

    def __call__(self, text: str) -> list[bytes]:
        """Return the words, in order."""
        if self._unicode:
            text = unicodedata.normalize("NFKC", text).lower().translate(_BLANK_FOR_PUNCTUATION)
        text = self._apart(text)
        raw = text.encode("utf-8", "surrogatepass")
        raw = raw.lower() if self._lower else raw
        words = (raw.translate(None, _MARKS) if self._strip else raw).split()
        return words if self._stemmer is None else [self._stem(word) for word in words]

    def _stem(self, word: bytes) -> bytes:
        stem = self._stems.get(word)
        if stem is None:
            stem = self._stemmer.stemWord(word.decode("utf-8", "surrogatepass")).encode("utf-8", "surrogatepass")
            self._stems[word] = stem
        return stem


def word_split_advice(overviews: Sequence[str], standardize: str | None, word_split: str) -> list[str]:
    """Return a line on what to set if over a fifth of the letters are of a script that the settings do not handle.

    Example:
        >>> word_split_advice(["宇宙船。"], "unicode", "whitespace")
        ['The overviews have no spaces between words: set --data.word_split character to make each character a word.']
        >>> word_split_advice(["A ship."], "lower", "whitespace")
        []
    """
    texts = list(islice(overviews, _SOME))
    letters = sum(sum(map(str.isalpha, text)) for text in texts)
    unspaced = sum(len(UNSPACED_LETTER.findall(text)) for text in texts if not text.isascii())
    other = sum(sum(c.isalpha() and not c.isascii() for c in text) for text in texts if not text.isascii())
    if unspaced > _MANY * letters and word_split == "whitespace":
        option = "--data.word_split character" + (" --data.standardize unicode" if standardize != "unicode" else "")
        return [f"The overviews have no spaces between words: set {option} to make each character a word."]
    if other > _MANY * letters and standardize not in ("unicode", None):
        return [
            f"--data.standardize {standardize} handles only ASCII letters and punctuation. Set it to unicode, so that "
            "capitals and punctuation of other scripts do not make different words."
        ]
    return []


class _BlankForPunctuation(dict[int, str]):
    """For `str.translate`: what each character becomes, computed on its first use."""

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        is_mark = letter in PUNCTUATION or letter.isspace() or unicodedata.category(letter).startswith("P")
        self[code] = found = " " if is_mark else letter
        return found


_BLANK_FOR_PUNCTUATION = _BlankForPunctuation()
