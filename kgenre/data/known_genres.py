"""Whether films have genres to learn, and films with those that a trained model knows, in its order."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from kgenre.data.errors import FilmDataError
from kgenre.data.film_table import FilmTable


def check_genres(films: FilmTable) -> None:
    """Raise `FilmDataError` if no film has a genre."""
    if not films.genres.any():
        raise FilmDataError(
            f"{films.source}: no film has a genre, so there is nothing to learn or to test.\n"
            "Give a table with a column genres, names joined by |. Films without genres are for kgenre predict."
        )


def warn_of_equal_genres(films: FilmTable) -> None:
    """Log a line if all films have the same genres."""
    if len(films) > 1 and (films.genres == films.genres[0]).all():
        names = ", ".join(films.genres_of(0))
        logging.getLogger("kgenre").warning(
            "All %d films have the same genres (%s): there is nothing to tell apart.", len(films), names
        )


def warn_of_no_genres(films: FilmTable) -> None:
    """Log a line if over 1 % of the films have no genre: most often theirs are unknown, yet learned as none."""
    without = int((~films.genres.any(axis=1)).sum())
    if without > len(films) / 100:
        logging.getLogger("kgenre").warning(
            "%d of %d films have no genre, and count as films that have none of them. Where theirs are unknown, take "
            "these films out of the table.",
            without,
            len(films),
        )


def map_to_known_genres(films: FilmTable, genre_names: Sequence[str]) -> FilmTable:
    """The same films with the genre columns ``genre_names``; a line is logged about genres that are dropped.

    Films of a file without any genre get zeros: they can be predicted.

    Raises:
        FilmDataError: the films have genres, and none of them is known.
    """
    counts = films.genres.sum(axis=0)
    occurring = [name for name, count in zip(films.genre_names, counts, strict=True) if count]
    unknown = [name for name in occurring if name not in genre_names]
    if unknown and unknown == occurring:
        raise FilmDataError(
            f"The films of {films.source} have none of the checkpoint's genres.\n"
            f"Theirs: {', '.join(unknown[:12])}. The checkpoint's: {', '.join(genre_names[:12])}."
        )
    if unknown:
        logging.getLogger("kgenre").warning(
            "Genres that the checkpoint does not know are ignored: %s.", ", ".join(unknown)
        )
    return films.with_genres(genre_names)
