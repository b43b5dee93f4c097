"""A single name for each genre: tables from different sources write the same genre in several ways.

``SAME`` is the whole mapping. Names that are not in it stay as they are.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from kgenre.data.film_table import FilmTable

# IMDb's names, which the course and MM-IMDb use.
GENRES = (
    "Action", "Adventure", "Animation", "Biography", "Comedy", "Crime", "Documentary", "Drama", "Family", "Fantasy",
    "Film-Noir", "History", "Horror", "Music", "Musical", "Mystery", "News", "Reality-TV", "Romance", "Sci-Fi", "Short",
    "Sport", "Talk-Show", "Game-Show", "Thriller", "War", "Western", "Adult", "TV Movie",
)  # fmt: skip
SAME = {
    "sciencefiction": "Sci-Fi",
    "sf": "Sci-Fi",
    "animated": "Animation",
    "biographical": "Biography",
    "biopic": "Biography",
    "historical": "History",
    "kids": "Family",
    "children": "Family",
    "childrens": "Family",
    "musicals": "Musical",
    "noir": "Film-Noir",
    "reality": "Reality-TV",
    "romantic": "Romance",
    "sports": "Sport",
    "suspense": "Thriller",
    "televisionmovie": "TV Movie",
    **{re.sub(r"[\W_]", "", name.casefold()): name for name in GENRES},
}


def common_name(name: str) -> str:
    """The common name of a genre; an unknown name is returned as it is.

    Example:
        >>> common_name("Science Fiction"), common_name("sci fi"), common_name("Foreign")
        ('Sci-Fi', 'Sci-Fi', 'Foreign')
    """
    return SAME.get(re.sub(r"[\W_]", "", name.casefold()), name)


def with_common_names(table: FilmTable) -> FilmTable:
    """The same films with the common genre names; columns of one name are merged, and a note lists the changes.

    Unknown names that differ only in capitals become the one that most films have.
    """
    by_films = [table.genre_names[column] for column in table.genres.sum(axis=0).argsort(kind="stable")]
    usual = {name.casefold(): name for name in map(common_name, by_films)}
    new = [usual[common_name(name).casefold()] for name in table.genre_names]
    changed = [f"{old} = {name}" for old, name in zip(table.genre_names, new, strict=True) if old != name]
    if not changed:
        return table
    names = tuple(sorted(set(new)))
    genres = np.zeros((len(table), len(names)), np.uint8)
    for column, name in enumerate(new):
        genres[:, names.index(name)] |= table.genres[:, column]
    note = f"Genres under one name: {', '.join(changed)}."
    return replace(table, genres=genres, genre_names=names, notes=(*table.notes, note))
