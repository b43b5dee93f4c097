"""Overviews as token ids, with a vocabulary learned from the training films only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import repeat

import numpy as np
import numpy.typing as npt

from kgenre.data.errors import FilmDataError
from kgenre.data.text_words import PUNCTUATION, TextWords

MAX_SEQUENCE_LENGTH = 200
UNKNOWN = "[UNK]"
_PUNCTUATION = re.compile(f"[{re.escape(PUNCTUATION)}]")
_OF_A_WORD = re.compile(rf"[^\s{re.escape(PUNCTUATION)}]")

TokenIds = npt.NDArray[np.int32]


def normalised_overview(text: str) -> str:
    """Return the text in lower case, without punctuation and with single spaces, to find identical overviews.

    "" means that the text has no words at all.
    """
    return " ".join(_PUNCTUATION.sub("", text.lower()).split())


def has_words(text: str) -> bool:
    """Return whether a text has more than blanks and punctuation: whether `normalised_overview` is not empty."""
    return _OF_A_WORD.search(text) is not None


def stemming_languages() -> tuple[str, ...]:
    """Return the languages that ``stem`` supports: those of Snowball (https://snowballstem.org)."""
    import snowballstemmer

    return tuple(sorted(snowballstemmer.algorithms()))


class OverviewVectorizer:
    """Converts overviews to int32 token ids (n, T), padded with 0 on the right; 1 is an unknown word.

    By default it learns the same vocabulary and returns the same ids as a Keras ``TextVectorization`` (lower case, no
    punctuation, split at white space), without TensorFlow.

    Args:
        vocabulary: the words, most frequent first, with "" and "[UNK]" in front; stems if ``stem`` is given.
        sequence_length: T; longer overviews are truncated.
        standardize: how a text is normalised before it is split, see `TextWords`.
        stem: None, or the language whose Snowball stemmer removes word endings, such as "english".
        word_split: how a text is split into words, see `TextWords`.

    Example:
        >>> vectorizer = OverviewVectorizer.adapt(["A ship in space.", "The ship"], vocabulary_size=100)
        >>> vectorizer.encode(["The ship!"])
        array([[3, 2, 0, 0]], dtype=int32)
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        sequence_length: int,
        standardize: str | None = "lower_and_strip_punctuation",
        stem: str | None = None,
        word_split: str = "whitespace",
    ) -> None:
        self.vocabulary = list(vocabulary)
        self.sequence_length = sequence_length
        self.standardize, self.stem, self.word_split = standardize, stem, word_split
        self._words = TextWords(standardize, word_split, stem)
        self._ids = {word.encode(): index for index, word in enumerate(self.vocabulary) if index > 1}

    @classmethod
    def adapt(
        cls,
        overviews: Sequence[str],
        vocabulary_size: int = 10_000,
        sequence_length: int | None = None,
        standardize: str | None = "lower_and_strip_punctuation",
        stem: str | None = None,
        min_df: int = 1,
        word_split: str = "whitespace",
    ) -> OverviewVectorizer:
        """Learn the vocabulary from the overviews of the training films.

        Args:
            overviews: training overviews.
            vocabulary_size: the most words to keep, including the padding and the unknown word.
            sequence_length: None for the length of the longest of ``overviews`` in tokens, at most 200.
            standardize: see the class.
            stem: see the class.
            min_df: words that occur in fewer of ``overviews`` are unknown.
            word_split: see the class.

        Raises:
            FilmDataError: there is no word in ``overviews``, or none in at least ``min_df`` of them.
        """
        if not any(map(has_words, overviews)):
            raise FilmDataError(
                f"None of the {len(overviews):,} training overviews has any words. "
                "Give films with overviews, or set --data.overviews false."
            )
        words_of, longest = TextWords(standardize, word_split, stem), 0
        counts: Counter[bytes] = Counter()
        films: Counter[bytes] = Counter()
        for text in overviews:  # one at a time: the words of all would need more memory than anything else here
            words = words_of(text)
            longest = max(longest, len(words))
            counts.update(words)
            if min_df > 1:
                films.update(set(words))
        vocabulary = ["", UNKNOWN, *_most_frequent(counts, vocabulary_size - 2)]
        if min_df > 1:
            vocabulary = vocabulary[:2] + [word for word in vocabulary[2:] if films[word.encode()] >= min_df]
            if len(vocabulary) == 2:
                raise FilmDataError(
                    f"No word occurs in at least {min_df} (min_df) of the {len(overviews):,} training overviews. "
                    "If they have no spaces between words, as in Chinese, set --data.word_split character."
                )
        if sequence_length is None:
            sequence_length = min(longest, MAX_SEQUENCE_LENGTH)
        vectorizer = cls(vocabulary, sequence_length, standardize, stem, word_split)
        vectorizer._words = words_of  # reuses its cached stems
        return vectorizer

    def encode(self, overviews: Sequence[str]) -> TokenIds:
        """Return token ids, int32 (n, T). An overview without words is a row of zeros."""
        ids = np.zeros((len(overviews), self.sequence_length), np.int32)
        id_of, unknown = self._ids.get, repeat(1)
        for row, text in enumerate(overviews):
            words = self._words(text)[: self.sequence_length]
            ids[row, : len(words)] = list(map(id_of, words, unknown))
        return ids


def _most_frequent(counts: Counter[bytes], most: int) -> list[str]:
    """Return the most frequent words in order; ties go to the word whose bytes sort last, as in Keras's layer."""
    counts.pop(UNKNOWN.encode(), None)
    ordered = sorted(counts, key=lambda word: (counts[word], word), reverse=True)
    return [word.decode("utf-8", "replace") for word in ordered[:most]]
