"""Detection of placeholder posters: one picture for all films without a poster, such as "no image available"."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kgenre.data.film_table import FilmTable
from kgenre.data.packed_columns import ExaminedPosters

_LEAST = 10  # films; fewer may be editions of one film


def placeholder_posters(films: FilmTable, files: ExaminedPosters) -> list[npt.NDArray[np.intp]]:
    """Return the rows of the films that share a placeholder instead of a poster of their own, for each placeholder.

    Ten films or more have the same file, byte for byte, at least half of their titles are distinct, and fewer than half
    have the same genres: episodes of a series also share a poster, but their genres too.

    Args:
        films: n films with their genres.
        files: what `examine_posters` returned for their posters.

    Example:
        >>> films = read_films("films")
        >>> placeholder_posters(films, examine_posters(films.poster_paths))
        []
    """
    sharing = rows_by_key(files.sha256, _LEAST)
    return [rows for rows in sharing if files.sha256[rows[0]] and _differ(films, rows)]


def rows_by_key(keys: npt.NDArray[Any], least: int = 2) -> list[npt.NDArray[np.intp]]:
    """Return the rows of each key that at least ``least`` rows have, in the order of first occurrence."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    begins = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    ends = np.append(begins[1:], len(keys))
    many = ends - begins >= least
    found = [order[begin:end] for begin, end in zip(begins[many], ends[many], strict=True)]
    return sorted(found, key=lambda rows: int(rows[0]))


def _differ(films: FilmTable, rows: npt.NDArray[np.intp]) -> bool:
    titles = [title.casefold() for row in rows if (title := films.titles[row])]
    _, of_genres = np.unique(films.genres[rows], axis=0, return_counts=True)
    return 2 * len(set(titles)) >= len(titles) and 2 * int(of_genres.max()) < len(rows)


def placeholder_notes(
    films: FilmTable, files: ExaminedPosters, placeholders: Sequence[npt.NDArray[np.intp]]
) -> list[str]:
    """Return a line for the user about each of the `placeholder_posters` that is a picture.

    A file that is not, such as a web page saved under the names of posters, is a bad poster and reported as such.
    """
    return [
        f"{len(rows):,} films share one picture ({films.ids[rows[0]]}, {films.ids[rows[1]]}, ...: "
        f"{films.poster_paths[rows[0]]}): is it a placeholder? To leave these films out, delete their posters and set "
        f"--data.max_bad_fraction to at least {math.ceil(100 * len(rows) / len(films)) / 100:g}."
        for rows in placeholders
        if not files[int(rows[0])].reason
    ]
