"""The bag of subwords as a layer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kgenre.models.films_with_words import count_films_with
from kgenre.models.linear_words import LinearWords


@keras.saving.register_keras_serializable(package="kgenre")
class LinearSubwords(LinearWords):
    """`LinearWords` on the subwords of a text's words: runs of 4 or 5 characters, the blanks around a word included.

    Rare words thus share what is learned about their subwords: "vampire", "vampiric" and "vampirism". The subwords are
    those of scikit-learn's ``TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 5))``; for character n-grams of texts
    see Cavnar and Trenkle (1994), "N-Gram-Based Text Categorization".

    Input: int32 (B, T) token ids, 0 padding, 1 the unknown word, which has no subwords. Output: float (B, units).

    Args:
        units: number of outputs, one per genre.
        vocabulary_size: ids are below it.
        subwords: size of the subword vocabulary: the subwords in the most training films, and id 0 for none.
        per_word: most subwords to use of a word, its rarest.
        min_df: subwords in fewer training films than this are left out.
        scale: see `LinearWords`.
        **kwargs: ``name`` and ``dtype``, as for every Keras layer.
    """

    def __init__(
        self,
        units: int,
        vocabulary_size: int,
        subwords: int = 10_000,
        per_word: int = 16,
        min_df: int = 3,
        scale: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, subwords, scale, **kwargs)
        self.words, self.per_word, self.min_df = vocabulary_size, per_word, min_df

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the subwords' weights, and ``parts``, int32 (words, per_word): each word's subword ids, 0 for none."""
        super().build(input_shape)
        shape = (self.words, self.per_word)
        self.parts = self.add_weight(shape=shape, initializer="zeros", dtype="int32", trainable=False, name="parts")

    def adapt_to_films(self, films: Mapping[str, np.ndarray]) -> None:
        """Set the subwords from ``films["vocabulary"]``, strings by token id, and their idf from ``films["overview"]``.

        ``films["overview"]`` is int32 (n, T), ``films["genres"]`` (n, units) for the biases.
        """
        of_word = [set(), set(), *(set(parts_of(word)) for word in films["vocabulary"][2:])]  # padding, unknown: none
        number: dict[str, int] = {}
        numbers = [[number.setdefault(part, len(number)) for part in sorted(parts)] for parts in of_word]
        counts = count_films_with(films["overview"], self.words, self._parts_of_words(numbers, len(number)))
        enough = (part for part, place in number.items() if counts[place] >= self.min_df)
        frequent = sorted(enough, key=lambda part: (-counts[number[part]], part))
        ids = {part: place for place, part in enumerate(frequent[: self.vocabulary_size - 1], start=1)}
        table = np.zeros((self.words, self.per_word), np.int32)
        for token, parts in enumerate(of_word):
            known = sorted((ids[part] for part in parts if part in ids), reverse=True)[: self.per_word]
            table[token, : len(known)] = known
        self.parts.assign(table)
        known_parts = self._parts_of_words([np.unique(parts).tolist() for parts in table], self.vocabulary_size)
        self.set_bias_and_idf(films["genres"], count_films_with(films["overview"], self.words, known_parts))

    def _parts_of_words(self, numbers: Sequence[Sequence[int]], parts: int) -> Any:
        """Return which subwords each word has, as a sparse array (words, parts) for `count_films_with`."""
        from scipy.sparse import csr_array

        ends = np.zeros(self.words + 1, np.int64)  # ids beyond the vocabulary have no subwords
        ends[1 : len(numbers) + 1] = np.cumsum([len(of_word) for of_word in numbers])
        ends[len(numbers) :] = ends[len(numbers)]
        indices = np.fromiter(itertools.chain.from_iterable(numbers), np.int64)
        return csr_array((np.ones(len(indices), np.float32), indices, ends), (self.words, parts))

    def call(self, tokens: Any) -> Any:
        """Map (B, T) to (B, units)."""
        texts, length = ops.shape(tokens)
        return super().call(ops.reshape(ops.take(self.parts, tokens, axis=0), (texts, length * self.per_word)))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of ``__init__``."""
        own = {"vocabulary_size": self.words, "subwords": self.vocabulary_size}
        return super().get_config() | own | {"per_word": self.per_word, "min_df": self.min_df}


def parts_of(word: str) -> Iterator[str]:
    """Yield the subwords of a word: runs of 4 or 5 characters of the word with a blank on each side.

    A single character is a subword itself if it is not ASCII: "a" and "I" mean little, a Chinese character
    (``word_split="character"``) is a word.

    Example:
        >>> list(parts_of("sea"))
        [' sea', 'sea ', ' sea ']
    """
    padded = f" {word} "
    if len(word) == 1 and not word.isascii():
        yield padded
    for n in (4, 5):
        for begin in range(len(padded) - n + 1):
            yield padded[begin : begin + n]
