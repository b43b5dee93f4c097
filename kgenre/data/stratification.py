"""Iterative stratification: divide films into parts in which each genre has nearly the same share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt


def iterative_stratification(
    genres: npt.NDArray[np.bool_], shares: npt.NDArray[np.float64], random_state: np.random.RandomState
) -> npt.NDArray[np.int64]:
    """Assign each film to a part, beginning with the films of the rarest genre [Sechidis2011]_.

    A film goes to the part that lacks most films of that genre; of these, to the one that lacks most films; of these,
    to a random one. The time grows with the number of genres that films have, not with films times genres squared: a
    table of 35,000 films may have 2,000 genres.

    Args:
        genres: (n, G).
        shares: (P,), which share of the films each part should have.
        random_state: breaks ties.

    Returns:
        The part of each film (n,).

    Example:
        >>> genres = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], bool)
        >>> parts = iterative_stratification(genres, np.array([0.5, 0.5]), np.random.RandomState(0))
        >>> sorted(parts[:2].tolist()), sorted(parts[2:].tolist())
        ([0, 1], [0, 1])

    .. [Sechidis2011] On the Stratification of Multi-Label Data, ECML PKDD 2011.
    """
    part_of = np.full(len(genres), -1, np.int64)
    left = genres.sum(axis=0)  # films of each genre that are in no part yet
    lacking = (shares * len(genres)).tolist()  # films, for each part
    lacking_of = np.outer(left, shares).tolist()  # films of each genre, for each part
    genres_of = [np.flatnonzero(row) for row in genres]
    has_genre = np.ascontiguousarray(genres.T)

    def put(film: int, candidates: Iterable[int]) -> None:
        part = _choose(_largest(lacking, candidates), random_state)
        part_of[film] = part
        lacking[part] -= 1
        left[genres_of[film]] -= 1
        for genre in genres_of[film].tolist():
            lacking_of[genre][part] -= 1

    parts = range(len(shares))
    while left.any():
        genre = _choose(np.flatnonzero(left == left[left > 0].min()).tolist(), random_state)
        for film in np.flatnonzero(has_genre[genre] & (part_of < 0)).tolist():
            put(film, _largest(lacking_of[genre], parts))
    for film in np.flatnonzero(part_of < 0).tolist():  # without a genre
        put(film, parts)
    return part_of


def _largest(values: Sequence[float], candidates: Iterable[int]) -> list[int]:
    """Return those of the candidates with the largest value."""
    candidates = list(candidates)
    most = max(values[i] for i in candidates)
    return [i for i in candidates if values[i] == most]


def _choose(candidates: Sequence[int], random_state: np.random.RandomState) -> int:
    # Without a tie nothing is drawn: the draws that follow, and so the split, depend on it.
    return candidates[random_state.choice(len(candidates)) if len(candidates) > 1 else 0]
