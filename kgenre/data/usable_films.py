"""The films that a model can use: those with what it reads, be it a poster, an overview or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kgenre.data.errors import FilmDataError
from kgenre.data.film_table import FilmTable, LeftOut
from kgenre.data.overviews import normalised_overview
from kgenre.data.posters import ProgressLine, read_posters


@dataclass(frozen=True, eq=False)
class UsableFilms:
    """Films with all that is needed, and what became of the others.

    Args:
        rows: int64 (n,), where these films are in the table as read.
        table: these films.
        pixels: uint8 (n, H, W, 3), their posters, or None if posters are not needed.
        bad_posters: films whose poster is missing or bad.
        left_out: all films that are not used: rows that could not be read, no overview, bad poster.
    """

    rows: npt.NDArray[np.int64]
    table: FilmTable
    pixels: npt.NDArray[np.uint8] | None
    bad_posters: tuple[LeftOut, ...]
    left_out: tuple[LeftOut, ...]


def find_usable_films(
    films: FilmTable, posters: bool, overviews: bool, image_size: tuple[int, int], max_bad_fraction: float
) -> UsableFilms:
    """Decode the posters, look at the overviews, and keep the films that have what is needed.

    Raises:
        FilmDataError: too many posters are missing or bad, or no film is left.
    """
    usable = np.ones(len(films), bool)
    left_out = list(films.left_out)
    pixels, bad = None, []
    if overviews:
        has_words = np.array([bool(normalised_overview(text)) for text in films.overviews])
        left_out += [LeftOut(films.ids[i], "no overview") for i in np.flatnonzero(~has_words)]
        usable &= has_words
    if posters:
        with ProgressLine("Reading posters") as progress:
            pixels, bad = read_posters(films, image_size, max_bad_fraction, progress)
        left_out += bad
        bad_ids = {entry.id for entry in bad}
        usable &= np.array([film_id not in bad_ids for film_id in films.ids])
    if not usable.any():
        raise FilmDataError(
            f"None of the {len(films)} films of {films.source} can be used: {left_out[-1].reason}. "
            f"Complete the data, or use --data.{'overviews' if overviews else 'posters'} false."
        )
    rows = np.flatnonzero(usable)
    if pixels is not None and len(rows) < len(films):
        pixels = pixels[rows]
    return UsableFilms(rows, films.subset(rows), pixels, tuple(bad), tuple(left_out))


def name_some(left_out: Sequence[LeftOut]) -> str:
    """The first three with their reasons, and how many more there are."""
    more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
    return "; ".join(f"{film_id} ({reason})" for film_id, reason in left_out[:3]) + more
