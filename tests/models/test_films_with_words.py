"""Counting a few films at a time gives the same result as counting all of them at once."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from kgenre.models import films_with_words, word_vectors

VOCABULARY = 9


@pytest.fixture
def tokens():
    drawn = np.random.default_rng(0).integers(1, VOCABULARY, size=(7, 6)).astype(np.int32)
    drawn[np.arange(6) >= np.array([6, 3, 0, 1, 5, 2, 6])[:, None]] = 0
    return drawn


@pytest.fixture
def two_at_once(monkeypatch):
    monkeypatch.setattr(films_with_words, "_FILMS_AT_ONCE", 2)
    monkeypatch.setattr(word_vectors, "_FILMS_AT_ONCE", 2)


def test_a_word_counts_once_per_film(tokens, two_at_once):
    holds = np.array([[word in film for word in range(VOCABULARY)] for film in tokens])
    assert films_with_words.count_films_with(tokens, VOCABULARY).tolist() == holds.sum(axis=0).tolist()


def test_a_subword_in_several_words_counts_once_per_film(tokens, two_at_once):
    parts = np.random.default_rng(1).random((VOCABULARY, 4)) < 0.4
    holds = np.array([parts[film].any(axis=0) for film in tokens])
    found = films_with_words.count_films_with(tokens, VOCABULARY, csr_array(parts.astype(np.float32)))
    assert found.tolist() == holds.sum(axis=0).tolist()


def test_word_vectors_are_the_same_in_chunks(tokens, monkeypatch):
    genres = np.random.default_rng(2).integers(0, 2, (len(tokens), 3)).astype(np.float32)

    def learned():
        company = word_vectors.ppmi_vectors(tokens, VOCABULARY, dim=4)
        return np.hstack([company, word_vectors.genre_evidence(tokens, genres, VOCABULARY)])

    at_once = learned()
    monkeypatch.setattr(films_with_words, "_FILMS_AT_ONCE", 2)
    monkeypatch.setattr(word_vectors, "_FILMS_AT_ONCE", 2)
    np.testing.assert_array_equal(learned(), at_once)
    assert at_once.any()
