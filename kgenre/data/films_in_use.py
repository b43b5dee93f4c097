"""The films that `FilmData` uses: those with the inputs that a model reads, a poster, an overview or both."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt

from kgenre.data.batch_plan import LengthBuckets
from kgenre.data.batches import FilmBatches, FilmTensors
from kgenre.data.errors import FilmDataError, shortened_list
from kgenre.data.film_table import FilmTable, LeftOut
from kgenre.data.genres import scarce_genres
from kgenre.data.overviews import OverviewVectorizer, TokenIds, has_words
from kgenre.data.packed_columns import ExaminedPosters
from kgenre.data.placeholder_posters import placeholder_notes, placeholder_posters
from kgenre.data.poster_examination import examine_posters
from kgenre.data.poster_resizing import Pixels
from kgenre.data.poster_table import poster_table
from kgenre.data.posters import bad_films, why_missing
from kgenre.data.progress_line import ProgressLine
from kgenre.data.split import Split
from kgenre.data.streamed_posters import StreamedPosters

_log = logging.getLogger("kgenre")

_FEW = 3
_MOST_KINDS = 5
_MOST_NAMES = 12  # of genres on a line: tables with free-text genres have hundreds
_OF_ONE = re.compile(r"\bline \d+: | \(.*")  # the parts of a reason that are about one film only


@dataclass(frozen=True, eq=False)
class FilmsInUse:
    """Films with all inputs that are needed, or with some of them, and what happened to the others.

    Args:
        all_films: all films as read, before any was left out.
        poster_files: what `examine_posters` returned for their posters.
        rows: int64 (n,), the rows of the films in use in ``all_films``.
        posters: their posters, zeros where a film has none; None if posters are not needed; `StreamedPosters` if no
            table of them is kept.
        poster_rows: int64 (n,), the row of each film's poster in ``posters``; None if it is the row in ``table``.
        bad_posters: films whose poster is missing or bad.
        left_out: all films that are not used: rows that could not be read, no overview, bad poster.
        vectorizer: turns overviews into token ids; None if none are read.
        tokens: int32 (n, T), the token ids of the overviews; None if none are read.
        whole_split: the split of ``all_films``; None if none was drawn, as for films to predict.
        stage: what they were read and split for; films to "predict" may lack genres and any number of posters.
    """

    all_films: FilmTable
    poster_files: ExaminedPosters
    rows: npt.NDArray[np.int64]
    posters: Pixels | StreamedPosters | None
    poster_rows: npt.NDArray[np.int64] | None
    bad_posters: tuple[LeftOut, ...]
    left_out: tuple[LeftOut, ...]
    vectorizer: OverviewVectorizer | None = None
    tokens: TokenIds | None = None
    whole_split: Split | None = None
    stage: str = ""

    @property
    def to_predict(self) -> bool:
        """Whether the films were read to be predicted."""
        return self.stage == "predict"

    @cached_property
    def table(self) -> FilmTable:
        """The films in use."""
        return self.all_films.subset(self.rows)

    @cached_property
    def split(self) -> Split | None:
        """The split of the films in use."""
        return self.whole_split and self.whole_split.restrict(self.rows)

    @cached_property
    def tensors(self) -> FilmTensors:
        """What batches are gathered from."""
        return FilmTensors(self.table.genres, self.posters, self.tokens, self.poster_rows)

    def training_films(self, rows: npt.NDArray[np.integer], posters: int, batch_size: int) -> dict[str, Any]:
        """See `FilmData.training_films`; ``rows`` are the training films, ``batch_size`` posters are read at once."""
        films: dict[str, npt.NDArray[Any]] = {"genres": self.table.genres[rows].astype(np.float32)}
        if self.tokens is not None and self.vectorizer is not None:
            films |= {"overview": self.tokens[rows], "vocabulary": np.array(self.vectorizer.vocabulary)}
        if self.posters is not None and posters:
            some = rows[np.linspace(0, len(rows) - 1, min(posters, len(rows))).round().astype(int)]
            batches = FilmBatches(self.tensors, some, min(len(some), batch_size))
            found = [np.asarray(batch["poster"])[np.asarray(batch["weight"]) > 0] for batch in batches]
            pixels = np.concatenate(found)
            films["poster"] = pixels[pixels.any(axis=(1, 2, 3))]
        return films

    def length_buckets(self, rows: npt.NDArray[np.integer], batch_size: int, most: int) -> LengthBuckets | None:
        """Buckets by overview length for batches of the films ``rows``; None if posters are read too."""
        if self.posters is not None or self.tokens is None:
            return None
        lengths = np.count_nonzero(self.tokens, axis=1).astype(np.int32)
        return LengthBuckets.choose(lengths, rows, batch_size, most, self.tokens.shape[1])

    def description(self, image_size: tuple[int, int], min_films: int) -> str:
        """Two to four lines: the number of films, what is read, where posters are, rare genres (to train or test)."""
        vectorizer, table = self.vectorizer, self.table
        inputs = []
        if self.posters is not None:
            inputs.append("posters at {} x {}".format(*image_size) + _where_kept(self.posters))
        if vectorizer is not None:
            length, words = vectorizer.sequence_length, len(vectorizer.vocabulary)
            unit = "words" if vectorizer.word_split == "whitespace" else "characters or words"
            inputs.append(f"overviews of up to {length} {unit}, vocabulary {words:,}")
        if self.split is not None:
            inputs.append(str(self.split))
        count = len(table.genre_names)
        genres = "1 genre" if count == 1 else f"{count:,} genres"
        lines = [f"{len(table):,} films with {genres}, from {table.source}", "; ".join(inputs)]
        if self.posters is not None and table.posters_found:
            lines.append(f"Posters: {table.posters_found}")
        if self.to_predict:
            return "\n".join(lines)
        rare, never = scarce_genres(table, min_films)
        about = []
        if rare:
            about.append(
                f"Fewer than {min_films} films: {shortened_list([f'{name} ({n})' for name, n in rare], _MOST_NAMES)}"
            )
        if never:
            about.append(f"{'never' if rare else 'Never'} occur: {shortened_list(never, _MOST_NAMES)}")
        if about:
            lines.append("; ".join(about))
        return "\n".join(lines)


def select_films(
    films: FilmTable,
    posters: bool,
    overviews: bool,
    image_size: tuple[int, int],
    resize: str,
    place: str,
    max_bad_fraction: float,
    may_lack: bool,
) -> FilmsInUse:
    """Examine posters and overviews, decode the posters, and keep the films with all, or some, of what is needed.

    Args:
        films: all films as read.
        posters: whether posters are needed.
        overviews: whether overviews are needed.
        image_size: see `FilmData`.
        resize: see `FilmData`.
        place: where decoded posters are kept, see `poster_table`.
        max_bad_fraction: see `FilmData`.
        may_lack: a film may lack a poster if it has an overview, and an overview if it has a poster.

    Raises:
        FilmDataError: too many posters are missing or bad, no film is left, or ``may_lack`` with streamed posters.
    """
    with ProgressLine("Examining posters") as progress:
        files = examine_posters(films.poster_paths.texts, films.root, progress)
    pixels, bad = None, []
    lacks: list[Sequence[str]] = []  # for overviews and posters: why each film has none, "" if it has one
    if overviews:
        lacks.append(["" if has_words(text) else "no overview" for text in films.overviews])
    if posters:
        for note in placeholder_notes(films, files, placeholder_posters(films, files)):
            _log.warning("%s", note)
        if all(files.reasons):  # otherwise decoding may find more, and the error must count them all
            bad_films(films, files.reasons, max_bad_fraction)
        with ProgressLine("Decoding posters") as progress:
            pixels, reasons = poster_table(films, files, image_size, resize, place, progress)
        bad = bad_films(films, reasons, max_bad_fraction)
        lacks.append(reasons)
        if may_lack and pixels is None:
            raise FilmDataError("incomplete='keep' needs a table of posters: set --data.poster_table disk.")
    unused = [all(some) if may_lack else any(some) for some in zip(*lacks, strict=True)]
    why_unused = (", ".join(filter(None, some)) for some in zip(*lacks, strict=True))
    left_out = [*films.left_out, *compress(map(LeftOut, films.ids, why_unused), unused)]
    if all(unused):
        why = "; ".join(text for text in (left_out[-1].reason, why_missing(films) if posters else "") if text)
        lacking, other = ("overviews", "posters") if overviews and all(lacks[0]) else ("posters", "overviews")
        raise FilmDataError(
            f"None of the {len(films):,} films of {films.source} can be used: {why}. "
            f"Complete the data, or use {other} only: --data.{lacking} false --data.{other} true."
        )
    rows = np.flatnonzero(~np.array(unused))
    poster_rows = rows if pixels is not None and len(rows) < len(films) else None
    in_use: Pixels | StreamedPosters | None = pixels
    if posters and pixels is None:
        paths, looked_at = films.poster_paths.take(rows), files.take(rows)
        in_use = StreamedPosters(films.ids.take(rows), paths, looked_at, image_size, resize, max_bad_fraction)
    return FilmsInUse(films, files, rows, in_use, poster_rows, tuple(bad), tuple(left_out))


def summarize_left_out(left_out: Sequence[LeftOut]) -> str:
    """Return up to three films with their reasons; if there are more, the number for each reason, most frequent first.

    A single reason needs no number.

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
    if len(ordered) == 1:
        return f"{ordered[0][0]} ({left_out[0].id}, ...)"
    said = [f"{len(ids):,}: {kind} ({ids[0]}{', ...' if len(ids) > 1 else ''})" for kind, ids in ordered[:_MOST_KINDS]]
    rest = sum(len(ids) for _, ids in ordered[_MOST_KINDS:])
    return "; ".join(said) + (f"; {rest:,} for other reasons" if rest else "")


def _where_kept(posters: Pixels | StreamedPosters) -> str:
    if isinstance(posters, StreamedPosters):
        return " (streamed)"
    return f" ({posters.nbytes / 1e6:,.0f} MB {'on disk' if isinstance(posters, np.memmap) else 'in memory'})"
