"""Whether a model ranks the same genres first for nearly every film."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kgenre.evaluation.film_predictions import top_genres

_SHARE = 0.9  # of the films: from here on, the model hardly tells them apart
_FEWEST = 6  # genres: among fewer, three are easily the same
_FEWEST_FILMS = 10  # one film has the same genres first as itself


class SameTop(NamedTuple):
    """The three genres, most probable first, the number of films that have them first, and the number of all films."""

    genres: tuple[str, ...]
    films: int
    of: int

    def __str__(self) -> str:
        """Return the sentence for logs and reports."""
        names = f"{', '.join(self.genres[:-1])} and {self.genres[-1]}"
        return f"It ranks {names} first for {self.films:,} of {self.of:,} films: it hardly distinguishes between films."


def same_top(prob: np.ndarray, genre_names: Sequence[str]) -> SameTop | None:
    """Return the three genres that probabilities (n, G) rank first, in any order, for 90 % of films or more, else None.

    None also for fewer than six genres or ten films.

    Example:
        >>> names = ["Action", "Comedy", "Drama", "Horror", "Romance", "War"]
        >>> print(same_top(np.tile([0.2, 0.4, 0.5, 0.1, 0.1, 0.0], (502, 1)), names))
        It ranks Drama, Comedy and Action first for 502 of 502 films: it hardly distinguishes between films.
    """
    if len(genre_names) < _FEWEST or len(prob) < _FEWEST_FILMS:
        return None
    found, films = np.unique(np.sort(top_genres(prob, 3), axis=1), axis=0, return_counts=True)
    if films.max() < _SHARE * len(prob):
        return None
    columns = sorted(found[films.argmax()], key=lambda column: -prob[:, column].mean())
    return SameTop(tuple(genre_names[column] for column in columns), int(films.max()), len(prob))
