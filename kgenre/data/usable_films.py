"""Selecting the films that a model can use: those with the inputs it reads, a poster, an overview or both."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
import numpy.typing as npt

from kgenre.data.errors import FilmDataError
from kgenre.data.film_table import FilmTable, LeftOut
from kgenre.data.formats import read_films
from kgenre.data.known_genres import check_genres, genre_warnings, map_to_known_genres
from kgenre.data.overviews import has_words
from kgenre.data.packed_columns import ExaminedPosters
from kgenre.data.placeholder_posters import placeholder_notes
from kgenre.data.poster_examination import examine_posters
from kgenre.data.poster_table import poster_table
from kgenre.data.posters import bad_films, why_missing
from kgenre.data.progress_line import ProgressLine
from kgenre.data.streamed_posters import StreamedPosters

_log = logging.getLogger("kgenre")

_FEW = 3
_MOST_KINDS = 5
_OF_ONE = re.compile(r"\bline \d+: | \(.*")  # the parts of a reason that are about one film only


@dataclass(frozen=True, eq=False)
class UsableFilms:
    """Films with all inputs that are needed, or with some of them, and what happened to the others.

    Args:
        films: all films as read, before any was left out.
        poster_files: what `examine_posters` returned for their posters.
        rows: int64 (n,), the rows of the usable films in ``films``.
        table: the usable films.
        posters: their posters, zeros where a film has none; None if posters are not needed; `StreamedPosters` if no
            table of them is kept.
        poster_rows: int64 (n,), the row of each film's poster in ``posters``; None if it is the row in ``table``.
        bad_posters: films whose poster is missing or bad.
        left_out: all films that are not used: rows that could not be read, no overview, bad poster.
    """

    films: FilmTable
    poster_files: ExaminedPosters
    rows: npt.NDArray[np.int64]
    table: FilmTable
    posters: npt.NDArray[np.uint8] | StreamedPosters | None
    poster_rows: npt.NDArray[np.int64] | None
    bad_posters: tuple[LeftOut, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class PosterOptions:
    """How posters are read; see `FilmData` for the arguments.

    ``may_lack``: a film may lack a poster if it has an overview, and an overview if it has a poster.
    """

    image_size: tuple[int, int]
    resize: str
    place: str
    max_bad_fraction: float
    may_lack: bool = False


def read_film_table(
    path: str | os.PathLike[str], format: str, genre_names: Sequence[str] | None = None, labelled: bool = False
) -> FilmTable:
    """Read films from a folder or table, and log the notes about them; their posters are not examined.

    Args:
        path: see `read_films`.
        format: see `read_films`.
        genre_names: the genres of a checkpoint, to map the films' genres to; None to keep their own.
        labelled: raise an error if no film has a genre, and log a line if some have none or all have the same.

    Raises:
        FilmDataError: see `read_films`, `check_genres` and `map_to_known_genres`.
    """
    films = read_films(path, format)
    notes: Sequence[str] = films.notes
    if labelled:
        check_genres(films)
        notes = [*genre_warnings(films), *notes]
    if genre_names is not None:
        films = map_to_known_genres(films, genre_names)
    for note in notes:
        _log.warning("%s", note)
    return films


def select_usable_films(films: FilmTable, options: PosterOptions | None, overviews: bool) -> UsableFilms:
    """Examine posters and overviews, decode the posters, and keep the films with all, or some, of what is needed.

    Args:
        films: all films as read.
        options: how posters are read; None if they are not needed.
        overviews: whether overviews are needed.

    Raises:
        FilmDataError: too many posters are missing or bad, no film is left, or ``may_lack`` with streamed posters.
    """
    with ProgressLine("Examining posters") as progress:
        files = examine_posters(films.poster_paths.texts, films.root, progress)
    for note in placeholder_notes(films, files) if options else ():
        _log.warning("%s", note)
    pixels, bad = None, []
    lacks: list[Sequence[str]] = []  # for overviews and posters: why each film has none, "" if it has one
    if overviews:
        lacks.append(["" if has_words(text) else "no overview" for text in films.overviews])
    if options:
        if all(files.reasons):  # otherwise decoding may find more, and the error must count them all
            bad_films(films, files.reasons, options.max_bad_fraction)
        with ProgressLine("Decoding posters") as progress:
            pixels, reasons = poster_table(films, files, options.image_size, options.resize, options.place, progress)
        bad = bad_films(films, reasons, options.max_bad_fraction)
        lacks.append(reasons)
    may_lack = options is not None and options.may_lack
    if may_lack and pixels is None:
        raise FilmDataError("incomplete='keep' needs a table of posters: set --data.poster_table disk.")
    unused = [all(some) if may_lack else any(some) for some in zip(*lacks, strict=True)]
    why_unused = (", ".join(filter(None, some)) for some in zip(*lacks, strict=True))
    left_out = [*films.left_out, *compress(map(LeftOut, films.ids, why_unused), unused)]
    if all(unused):
        why = "; ".join(text for text in (left_out[-1].reason, why_missing(films) if options else "") if text)
        lacking, other = ("overviews", "posters") if overviews and all(lacks[0]) else ("posters", "overviews")
        raise FilmDataError(
            f"None of the {len(films)} films of {films.source} can be used: {why}. "
            f"Complete the data, or use {other} only: --data.{lacking} false --data.{other} true."
        )
    rows = np.flatnonzero(~np.array(unused))
    table = films.subset(rows)
    posters: npt.NDArray[np.uint8] | StreamedPosters | None = pixels
    if options and pixels is None:
        size, resize, most_bad = options.image_size, options.resize, options.max_bad_fraction
        posters = StreamedPosters(table.ids, table.poster_paths, files.take(rows), size, resize, most_bad)
    poster_rows = rows if pixels is not None and len(rows) < len(films) else None
    return UsableFilms(films, files, rows, table, posters, poster_rows, tuple(bad), tuple(left_out))


def summarize_left_out(left_out: Sequence[LeftOut]) -> str:
    """Return up to three films with their reasons; if there are more, the number for each reason, most frequent first.

    Example:
        >>> summarize_left_out([LeftOut("a", "line 3: too short"), *(LeftOut(i, "no such file") for i in "bcd")])
        '3: no such file (b, ...); 1: too short (a)'
    """
    if len(left_out) <= _FEW:
        return "; ".join(f"{film_id} ({reason})" for film_id, reason in left_out)
    kinds: dict[str, list[str]] = {}
    for film_id, reason in left_out:
        kinds.setdefault(_OF_ONE.sub("", reason), []).append(film_id)
    ordered = sorted(kinds.items(), key=lambda one: -len(one[1]))
    said = [f"{len(ids)}: {kind} ({ids[0]}{', ...' if len(ids) > 1 else ''})" for kind, ids in ordered[:_MOST_KINDS]]
    rest = sum(len(ids) for _, ids in ordered[_MOST_KINDS:])
    return "; ".join(said) + (f"; {rest} for other reasons" if rest else "")
