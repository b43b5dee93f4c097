"""Genres: a single name for each, as tables write the same one in several ways; checks; and those that a model knows.

``SAME`` is the whole mapping of names. Names that are not in it stay as they are.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kgenre.data.errors import FilmDataError, shortened_list
from kgenre.data.film_table import FilmTable

SEPARATORS = (";", ",", "/", "；", "、", "，", "،")  # that join genres, besides |; the last four: Chinese, Arabic
_SEPARATOR = re.compile(f"[|{''.join(SEPARATORS)}]")
_LEAST_NAMES = 3
_LEAST_FILMS = 100
_MOST_SHOWN = 12  # of genres on a line: tables with free-text genres have hundreds
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


def _loose(name: str) -> str:
    """Return what names have in common that differ only in capitals, or in how an accented letter is encoded."""
    return unicodedata.normalize("NFC", name).casefold()


def with_common_names(table: FilmTable) -> FilmTable:
    """The same films with the common genre names; columns of one name are merged.

    Unknown names that differ only in capitals (or in how accented letters are encoded) become the one that most films
    have. A note lists the other changes.
    """
    by_films = [table.genre_names[column] for column in table.genres.sum(axis=0).argsort(kind="stable")]
    usual = {_loose(name): name for name in map(common_name, by_films)}
    new = [usual[_loose(common_name(name))] for name in table.genre_names]
    if new == list(table.genre_names):
        return table
    names = tuple(sorted(set(new)))
    genres = np.zeros((len(table), len(names)), np.uint8)
    for column, name in enumerate(new):
        genres[:, names.index(name)] |= table.genres[:, column]
    pairs = zip(table.genre_names, new, strict=True)
    changed = [f"{old} = {name}" for old, name in pairs if _loose(old) != _loose(name)]
    notes = [f"Genres under one name: {', '.join(changed)}."] if changed else []
    return replace(table, genres=genres, genre_names=names, notes=(*table.notes, *notes))


def check_genres(films: FilmTable) -> list[str]:
    """Return a line if all films have the same genres, and one if over 1 % have none: their genres may be unknown.

    Raises:
        FilmDataError: no film has a genre.
    """
    if not films.genres.any():
        raise FilmDataError(
            f"{films.source}: no film has a genre, so there is nothing to train or test on.\n"
            "Give a table with a genres column, names joined by |. Films without genres are only for kgenre predict."
        )
    lines = []
    if len(films) > 1 and (films.genres == films.genres[0]).all():
        names = ", ".join(films.genres_of(0))
        lines.append(f"All {len(films):,} films have the same genres ({names}): there is nothing to tell apart.")
    without = int((~films.genres.any(axis=1)).sum())
    if without > len(films) / 100:
        lines.append(
            f"{without:,} of {len(films):,} films have no genre, and are treated as having none of them. If their "
            "genres are unknown, remove these films from the table."
        )
    return lines


def genre_notes(table: FilmTable) -> tuple[str, ...]:
    """Return a line if genre names look like several genres, or if there are fewer than 3 films per genre.

    They do if any consists of others with a separator between them ("Drama, War"), or if half of them have a separator
    or consist of words that others have, too ("Drama War", "War Crime", "Crime Drama").

    Example:
        >>> genre_notes(read_films("films"))
        ()
    """
    names = [table.genre_names[i] for i in np.flatnonzero(table.genres.any(axis=0))]
    others = {*names}
    separated = [name for name in names if _SEPARATOR.search(name)]
    joined = [name for name in separated if {part.strip() for part in _SEPARATOR.split(name)} <= others]
    if not joined:
        words = Counter(word for name in names for word in {*name.split()})
        spaced = [name for name in names if " " in name and all(words[word] > 1 for word in name.split())]
        joined = list(dict.fromkeys([*separated, *spaced]))
        joined = joined if len(joined) >= max(_LEAST_NAMES, len(names) / 2) else []
    if joined:
        return (
            f"{len(joined):,} of {len(names):,} genre names look{'s' * (len(joined) == 1)} like several genres, such "
            f"as {joined[0][:60]!r}: join genres by | in the table.",
        )
    if len(table) >= _LEAST_FILMS and 3 * len(names) > len(table):
        return (f"{len(names):,} genres for {len(table):,} films, such as {names[0][:60]!r}: are these really genres?",)
    return ()


def scarce_genres(table: FilmTable, min_films: int) -> tuple[list[tuple[str, int]], list[str]]:
    """Return (name, films) of genres with some but fewer than ``min_films`` films, and the names of those with none.

    Example:
        >>> scarce_genres(read_films("films"), min_films=5)
        ([('Western', 3), ('Horror', 4)], [])
    """
    counts = [(name, int(films)) for name, films in zip(table.genre_names, table.genres.sum(axis=0), strict=True)]
    rare = sorted(((name, films) for name, films in counts if 0 < films < min_films), key=lambda one: one[1])
    return rare, [name for name, films in counts if not films]


def map_to_known_genres(films: FilmTable, genre_names: Sequence[str], to_predict: bool = False) -> FilmTable:
    """Return the same films with the genre columns ``genre_names``, and log which genres are dropped.

    Names that differ only in capitals are the same genre, as in `with_common_names`, which chooses by the films. If no
    film has one of these genres, all columns are zero: such films can still be predicted.

    Raises:
        FilmDataError: the films have genres, but none of ``genre_names``, and are not only ``to_predict``.
    """
    known = {_loose(name): name for name in genre_names}
    films = replace(films, genre_names=tuple(known.get(_loose(name), name) for name in films.genre_names))
    counts = films.genres.sum(axis=0)
    occurring = [name for name, count in zip(films.genre_names, counts, strict=True) if count]
    unknown = [name for name in occurring if name not in genre_names]
    if unknown and unknown == occurring and not to_predict:
        raise FilmDataError(
            f"The films of {films.source} have none of the checkpoint's genres.\n"
            f"Their genres: {shortened_list(unknown, _MOST_SHOWN)}. The checkpoint's: "
            f"{shortened_list(genre_names, _MOST_SHOWN)}."
        )
    if unknown:
        logging.getLogger("kgenre").warning(
            "Genres that the checkpoint does not know are ignored: %s.", shortened_list(unknown, _MOST_SHOWN)
        )
    return films.with_genres(genre_names)
