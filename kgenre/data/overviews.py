"""Overviews as token ids, with a vocabulary that knows the training films only."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kgenre.data.errors import FilmDataError

MAX_SEQUENCE_LENGTH = 200
STANDARDIZE = ("lower_and_strip_punctuation", "lower", "strip_punctuation", None)
# What Keras's TextVectorization strips. A text without anything else has no tokens.
_PUNCTUATION = re.compile(r"""[!"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']""")
_ENCODED_AT_ONCE = 4096  # bounds the memory that one very long overview costs

TokenIds = npt.NDArray[np.int32]


def normalised_overview(text: str) -> str:
    """Lower case, without punctuation, single spaces: equal for overviews that differ in nothing that counts.

    "" means that the text has no words at all.
    """
    return " ".join(_PUNCTUATION.sub("", text.lower()).split())


class OverviewVectorizer:
    """Overviews to int32 token ids (n, T), padded with 0 on the right; 1 is an unknown word.

    A Keras ``TextVectorization`` (lower case, no punctuation, split at spaces) behind a list of words, so
    that it can be kept in a checkpoint and made again without the films.

    Args:
        vocabulary: the words, most frequent first, with "" and "[UNK]" in front.
        sequence_length: T; longer overviews are cut.
        standardize: one of STANDARDIZE, what is done to a text before it is split at spaces.

    Example:
        >>> vectorizer = OverviewVectorizer.adapt(["A ship in space.", "The ship"], vocabulary_size=100)
        >>> vectorizer.encode(["The ship!"])
        array([[4, 2, 0, 0]], dtype=int32)
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        sequence_length: int,
        standardize: str | None = "lower_and_strip_punctuation",
    ) -> None:
        self.vocabulary = list(vocabulary)
        self.sequence_length = sequence_length
        self._layer = _text_vectorization(None, standardize)
        self._layer.set_vocabulary(self.vocabulary)

    @classmethod
    def adapt(
        cls,
        overviews: Sequence[str],
        vocabulary_size: int = 10_000,
        sequence_length: int | None = None,
        standardize: str | None = "lower_and_strip_punctuation",
    ) -> OverviewVectorizer:
        """Learn the vocabulary from the overviews of the training films.

        Args:
            overviews: training overviews.
            vocabulary_size: most words kept, the padding and the unknown word included.
            sequence_length: None for the longest of ``overviews`` in tokens, at most 200.
            standardize: see the class.

        Raises:
            FilmDataError: there is no word in ``overviews``.
        """
        if not any(map(normalised_overview, overviews)):
            raise FilmDataError(
                f"None of the {len(overviews)} training overviews has a word in it. "
                "Give films with overviews, or use --data.overviews false."
            )
        from kgenre.data.tensorflow import tf

        layer = _text_vectorization(vocabulary_size, standardize)
        layer.adapt(tf.data.Dataset.from_tensor_slices(list(overviews)).batch(1024))
        words = [str(word) for word in layer.get_vocabulary()]
        if sequence_length is None:
            stripped = standardize in ("lower_and_strip_punctuation", "strip_punctuation")
            texts = map(normalised_overview, overviews) if stripped else overviews
            sequence_length = min(max(len(text.split()) for text in texts), MAX_SEQUENCE_LENGTH)
        return cls(words, sequence_length, standardize)

    def encode(self, overviews: Sequence[str]) -> TokenIds:
        """Token ids, int32 (n, T). An overview without words is a row of zeros."""
        ids = np.zeros((len(overviews), self.sequence_length), np.int32)
        for first in range(0, len(overviews), _ENCODED_AT_ONCE):
            texts = list(overviews[first : first + _ENCODED_AT_ONCE])
            tokens = np.asarray(self._layer(texts))[:, : self.sequence_length]
            ids[first : first + len(texts), : tokens.shape[1]] = tokens
        return ids


def _text_vectorization(max_tokens: int | None, standardize: str | None):  # noqa: ANN202 - keras is not imported before it is needed
    from keras.layers import TextVectorization

    from kgenre.data.tensorflow import tf  # noqa: F401 - the layer imports TensorFlow: GPUs hidden first

    return TextVectorization(
        max_tokens=max_tokens,
        standardize=standardize,
        split="whitespace",
        output_mode="int",
    )
