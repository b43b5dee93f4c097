"""Genres of sample films: one to three, with skewed shares, and some that often occur together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Choice = TypeVar("Choice")

# How often a genre is a film's main one, in percent.
SHARES = {
    "Drama": 23,
    "Comedy": 21,
    "Action": 13,
    "Horror": 10,
    "Romance": 8,
    "Animation": 6,
    "Sci-Fi": 6,
    "Crime": 5,
    "Thriller": 4,
    "Western": 4,
}
COMPANIONS = {
    "Drama": ("Romance", "Crime", "Thriller", "Comedy"),
    "Comedy": ("Romance", "Drama", "Animation", "Crime"),
    "Action": ("Thriller", "Crime", "Sci-Fi", "Drama"),
    "Horror": ("Thriller", "Sci-Fi", "Comedy"),
    "Romance": ("Drama", "Comedy"),
    "Animation": ("Comedy", "Sci-Fi"),
    "Sci-Fi": ("Action", "Thriller", "Drama"),
    "Crime": ("Drama", "Thriller", "Action"),
    "Thriller": ("Crime", "Drama"),
    "Western": ("Action", "Drama"),
}


def pick(rng: np.random.Generator, choices: Sequence[Choice]) -> Choice:
    """Draw one of ``choices``, all equally likely."""
    return choices[int(rng.integers(len(choices)))]


def draw_genres(rng: np.random.Generator) -> tuple[str, ...]:
    """Draw one to three genres, the main one first."""
    percent = int(rng.integers(sum(SHARES.values())))
    for main, share in SHARES.items():  # noqa: B007 - main is the result
        percent -= share
        if percent < 0:
            break
    genres = [main]
    for chance in (0.6, 0.35):
        if rng.random() < chance:
            companion = pick(rng, COMPANIONS[main])
            if companion not in genres:
                genres.append(companion)
    return tuple(genres)
