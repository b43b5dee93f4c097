"""Titles of sample films."""

from __future__ import annotations

import numpy as np

from kgenre.data.sample.genres import pick

PATTERNS = (
    "The {adjective} {noun}",
    "{adjective} {noun}",
    "{noun} of the {noun2}",
    "The Last {noun}",
    "One {noun} in {place}",
)
ADJECTIVES = (
    "Silent", "Golden", "Broken", "Long", "Second", "Crooked", "Distant", "Bitter", "Quiet", "Paper",
    "Scarlet", "Hollow", "Northern", "Perfect", "Velvet", "Burning", "Hidden", "Endless", "Iron", "Lucky",
)  # fmt: skip
NOUNS = (
    "Harbour", "Letter", "Winter", "Garden", "River", "Promise", "Mirror", "Road", "Summer", "Station",
    "Window", "Bridge", "Orchard", "Signal", "Island", "Morning", "Stranger", "Valley", "Clock", "Neighbour",
)  # fmt: skip
PLACES = ("Lisbon", "Cairo", "Vermont", "Kyoto", "Dublin", "Havana", "Oslo", "Texas", "Naples", "Lagos")
WORDS_OF_GENRE = {
    "Drama": ("Daughter", "Silence"),
    "Comedy": ("Wedding", "Uncle"),
    "Action": ("Strike", "Fury"),
    "Horror": ("Crypt", "Scream"),
    "Romance": ("Kiss", "Heart"),
    "Animation": ("Dragon", "Penguin"),
    "Sci-Fi": ("Orbit", "Android"),
    "Crime": ("Heist", "Alibi"),
    "Thriller": ("Witness", "Pursuit"),
    "Western": ("Saddle", "Canyon"),
}


def invent_title(rng: np.random.Generator, genres: tuple[str, ...]) -> str:
    """Invent a title; half of them contain a word that is typical of the main genre."""
    noun = pick(rng, WORDS_OF_GENRE[genres[0]]) if rng.random() < 0.5 else pick(rng, NOUNS)
    return pick(rng, PATTERNS).format(
        adjective=pick(rng, ADJECTIVES), noun=noun, noun2=pick(rng, NOUNS), place=pick(rng, PLACES)
    )
