"""Films with the genres that a trained model knows, in its order, whatever genres their own file has."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from kgenre.data.errors import FilmDataError
from kgenre.data.film_table import FilmTable


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
