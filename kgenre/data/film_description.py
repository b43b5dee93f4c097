"""What was found of films, in a few lines for people."""

from __future__ import annotations

import numpy as np

from kgenre.data.film_table import FilmTable
from kgenre.data.films_in_use import FilmsInUse
from kgenre.data.formats.layout_choice import some
from kgenre.data.streamed_posters import StreamedPosters
from kgenre.data.usable_films import name_some

_MOST_NAMES = 12  # of genres on a line: tables with free text for genres have hundreds


def scarce_genres(table: FilmTable, min_films: int) -> tuple[list[tuple[str, int]], list[str]]:
    """(name, films) of the genres that at least one but fewer than ``min_films`` films have; those that none has.

    Example:
        >>> scarce_genres(read_films("films"), min_films=5)
        ([('Western', 3), ('Horror', 4)], [])
    """
    counts = [(name, int(films)) for name, films in zip(table.genre_names, table.genres.sum(axis=0), strict=True)]
    rare = sorted(((name, films) for name, films in counts if 0 < films < min_films), key=lambda one: one[1])
    return rare, [name for name, films in counts if not films]


def describe_films(films: FilmsInUse, image_size: tuple[int, int], min_films: int) -> str:
    """Two to five lines: how many films, what is read of them, where the posters are, rare genres, films left out."""
    usable, vectorizer, table = films.usable, films.vectorizer, films.usable.table
    inputs = []
    if usable.posters is not None:
        inputs.append("posters at {} x {}".format(*image_size) + _where_kept(usable.posters))
    if vectorizer is not None:
        length, words = vectorizer.sequence_length, len(vectorizer.vocabulary)
        unit = "words" if vectorizer.word_split == "whitespace" else "letters or words"
        inputs.append(f"overviews of up to {length} {unit}, vocabulary {words:,}")
    if films.split is not None:
        inputs.append(str(films.split))
    count = len(table.genre_names)
    genres = "1 genre" if count == 1 else f"{count} genres"
    lines = [f"{len(table):,} films with {genres}, from {table.source}", "; ".join(inputs)]
    if usable.posters is not None and table.posters_found:
        lines.append(f"Posters: {table.posters_found}")
    rare, never = scarce_genres(table, min_films)
    about = []
    if rare:
        about.append(f"Fewer than {min_films} films: {some([f'{name} ({n})' for name, n in rare], _MOST_NAMES)}")
    if never:
        about.append(f"{'never' if rare else 'Never'} occur: {some(never, _MOST_NAMES)}")
    if about and len(never) < len(table.genre_names):  # films to predict may come without genres
        lines.append("; ".join(about))
    if usable.left_out:
        lines.append(f"{len(usable.left_out)} left out: {name_some(usable.left_out)}")
    return "\n".join(lines)


def _where_kept(posters: np.ndarray | StreamedPosters) -> str:
    if isinstance(posters, StreamedPosters):
        return " (streamed)"
    return f" ({posters.nbytes / 1e6:,.0f} MB {'on disk' if isinstance(posters, np.memmap) else 'in memory'})"
