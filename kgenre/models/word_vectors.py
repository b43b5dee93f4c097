"""Word vectors from the training overviews alone: which words occur near which, and in films of which genres."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from kgenre.models.films_with_words import words_of_films

_FILMS_AT_ONCE = 16_384
_WINDOW = 5  # most positions between two words that are each other's context
_SMOOTHING = 0.75  # power of the context's counts
_DEVIATION = 0.3  # standard deviation of the vectors' numbers


def ppmi_vectors(tokens: np.ndarray, vocabulary_size: int, dim: int) -> np.ndarray:
    """Factorise how much more often than by chance two words occur near each other.

    Positive pointwise mutual information of word and context (the words up to 5 positions away), with the context's
    counts raised to 0.75, and its truncated singular value decomposition, ``U sqrt(S)``: Levy, Goldberg and Dagan
    (2015), "Improving Distributional Similarity with Lessons Learned from Word Embeddings"
    (https://aclanthology.org/Q15-1016). It works with as few texts as there are here; word2vec needs millions.

    Args:
        tokens: int (n, T) ids, 0 padding on the right.
        vocabulary_size: ids are below it.
        dim: length of a vector.

    Returns:
        float32 (vocabulary_size, dim); zeros for padding and for words without context. Where the vocabulary is smaller
        than ``dim``, the last columns are zeros.

    Example:
        >>> ppmi_vectors(np.array([[2, 3, 0], [2, 3, 4]]), vocabulary_size=5, dim=2).shape
        (5, 2)
    """
    from sklearn.utils.extmath import randomized_svd
    from threadpoolctl import threadpool_limits  # a requirement of scikit-learn

    vectors = np.zeros((vocabulary_size, dim), np.float32)
    counts = _cooccurrences(tokens, vocabulary_size)
    if not counts.nnz:
        return vectors
    of_word = np.asarray(counts.sum(axis=1)).ravel()  # and of each context: the counts are symmetric
    of_context = of_word**_SMOOTHING
    chance = np.repeat(of_word, np.diff(counts.indptr)) * of_context[counts.indices] / of_context.sum()
    counts.data = np.maximum(np.log(counts.data / chance), 0)
    rank = min(dim, vocabulary_size - 1)
    # A second thread saves a tenth of the time; beside other programs, two take ten times as long as one.
    with threadpool_limits(1, user_api="blas"):
        left, values, _ = randomized_svd(counts, rank, n_iter=4, random_state=0)
    vectors[:, :rank] = left * np.sqrt(values)
    vectors[of_word == 0] = 0  # the decomposition leaves rounding errors there
    spread = vectors[:, :rank].std()
    return vectors * np.float32(_DEVIATION / spread) if spread > 0 else vectors


def _cooccurrences(tokens: np.ndarray, vocabulary_size: int) -> Any:
    """Count how often any two words occur near each other: sparse float64 (vocabulary_size, vocabulary_size)."""
    from scipy.sparse import coo_matrix, csr_matrix

    shape = (vocabulary_size, vocabulary_size)
    after = csr_matrix(shape)
    for first in range(0, len(tokens), _FILMS_AT_ONCE):  # all pairs of 200,000 films took seven gigabytes
        some, pairs = tokens[first : first + _FILMS_AT_ONCE], []
        for distance in range(1, min(_WINDOW, tokens.shape[1] - 1) + 1):
            left, right = some[:, :-distance].ravel(), some[:, distance:].ravel()
            both = (left > 0) & (right > 0)
            pairs.append((left[both], right[both]))
        if pairs:
            words, contexts = (np.concatenate(side) for side in zip(*pairs, strict=True))
            after += coo_matrix((np.ones(len(words)), (words, contexts)), shape).tocsr()  # sums duplicates
    return (after + after.T).tocsr()


def genre_evidence(tokens: np.ndarray, genres: np.ndarray, vocabulary_size: int, strength: float = 5.0) -> np.ndarray:
    """Return, as a log ratio, how much more frequent each genre is in the films with a word than in all films.

    ``log((k + strength f) / ((n + strength) f))`` for a word in n films of which k have a genre of frequency f: the
    log-count ratio of Wang and Manning (2012), "Baselines and Bigrams" (https://aclanthology.org/P12-2018), shrunk
    towards 0 for rare words as if ``strength`` more films with average genres had used them.

    Args:
        tokens: int (n, T) ids, 0 padding.
        genres: (n, G), 0 or 1.
        vocabulary_size: ids are below it.
        strength: number of these added films.

    Returns:
        float32 (vocabulary_size, G); zeros for padding, for words that no film uses and for genres that none has.

    Example:
        >>> genre_evidence(np.array([[2, 3], [2, 0]]), np.array([[1, 0], [1, 1]]), vocabulary_size=4).shape
        (4, 2)
    """
    share = genres.mean(axis=0)
    uses = np.zeros((vocabulary_size, 1), np.float32)
    with_genre = np.zeros((vocabulary_size, genres.shape[1]), np.result_type(genres, np.float32))
    for films, words in words_of_films(tokens, vocabulary_size):
        uses[:, 0] += np.bincount(words.indices, minlength=vocabulary_size)
        with_genre += words.T @ genres[films]
    uses[0], with_genre[0] = 0, 0
    rate = (with_genre + strength * share) / (uses + strength)
    # For a genre that no film has there is no evidence, rather than evidence against it from every word.
    return np.log(np.divide(rate, share, out=np.ones_like(rate), where=share > 0)).astype(np.float32)


@keras.saving.register_keras_serializable(package="kgenre")
class WordVectors(keras.layers.Embedding):
    """An embedding that masks padding and can be initialised from the training overviews.

    Its first columns then are the `ppmi_vectors` (which words occur near each other), the last ``genres`` columns the
    `genre_evidence` (which genres a word's films have). All are trained further.

    Input: int32 (B, T). Output: float (B, T, output_dim), with the mask (B, T) of what is not padding.

    Args:
        input_dim: the vocabulary's size.
        output_dim: length of a word's vector, the genres' columns included.
        genres: how many columns are the genres'.
        **kwargs: as for ``keras.layers.Embedding``.

    Raises:
        ValueError: ``genres`` leaves no column for `ppmi_vectors`.
    """

    def __init__(self, input_dim: int, output_dim: int, genres: int = 0, **kwargs: Any) -> None:
        if not 0 <= genres < output_dim:
            raise ValueError(f"genres must be at least 0 and below output_dim={output_dim}. Received: genres={genres}")
        super().__init__(input_dim, output_dim, **{"mask_zero": True} | kwargs)
        self.genres = genres

    def adapt_to_films(self, films: Mapping[str, np.ndarray]) -> None:
        """Start from ``films["overview"]``, int32 (n, T), and ``films["genres"]``, (n, genres)."""
        tokens = films["overview"]
        columns = [ppmi_vectors(tokens, self.input_dim, self.output_dim - self.genres)]
        if self.genres:
            columns.append(genre_evidence(tokens, films["genres"], self.input_dim))
        self.embeddings.assign(np.hstack(columns))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of ``__init__``."""
        return super().get_config() | {"genres": self.genres}
