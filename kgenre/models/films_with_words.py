"""Counts the films that contain each word, some films at a time: one array of films by words would take gigabytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

_FILMS_AT_ONCE = 8192


def count_films_with(tokens: npt.NDArray[np.integer], vocabulary_size: int, parts: Any = None) -> npt.NDArray[np.int64]:
    """Count the films that contain each word, or each subword.

    Args:
        tokens: int (n, T) ids, 0 padding, which counts as a word.
        vocabulary_size: ids are below it.
        parts: each word's subwords, a ``scipy.sparse`` array (vocabulary_size, P); None to count the words themselves.

    Returns:
        int64 (vocabulary_size,), or (P,).

    Example:
        >>> count_films_with(np.array([[2, 3, 3], [2, 0, 0]]), vocabulary_size=5)
        array([1, 0, 2, 1, 0])
    """
    counts = np.zeros(vocabulary_size if parts is None else parts.shape[1], np.int64)
    for _, words in words_of_films(tokens, vocabulary_size):
        held = words if parts is None else words @ parts
        counts += np.bincount(held.indices, minlength=len(counts))
    return counts


def words_of_films(tokens: npt.NDArray[np.integer], vocabulary_size: int) -> Iterator[tuple[slice, Any]]:
    """Yield films in groups: their slice, and a sparse float32 (films, vocabulary_size), 1 for words that a film has.

    Args:
        tokens: int (n, T) ids, 0 padding, which counts as a word.
        vocabulary_size: ids are below it.
    """
    from scipy.sparse import csr_array

    for first in range(0, len(tokens), _FILMS_AT_ONCE):
        films = slice(first, first + _FILMS_AT_ONCE)
        ordered = np.sort(tokens[films], axis=1)
        new = np.ones(ordered.shape, bool)
        new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        words = ordered[new]
        ends = np.concatenate([[0], new.sum(axis=1).cumsum()])
        yield films, csr_array((np.ones(len(words), np.float32), words, ends), (len(ordered), vocabulary_size))
