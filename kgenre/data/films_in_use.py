"""The films that `FilmData` has read and uses: as tables that batches are gathered from, and as a short description."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from kgenre.data.batch_plan import LengthBuckets
from kgenre.data.batches import FilmBatches, FilmTensors
from kgenre.data.formats.layout_choice import shortened_list
from kgenre.data.known_genres import scarce_genres
from kgenre.data.overviews import OverviewVectorizer
from kgenre.data.split import Split
from kgenre.data.streamed_posters import StreamedPosters
from kgenre.data.usable_films import UsableFilms, summarize_left_out

_MOST_NAMES = 12  # of genres on a line: tables with free-text genres have hundreds


@dataclass(frozen=True, eq=False)
class FilmsInUse:
    """Films, read once.

    Args:
        usable: the films, and those that are left out.
        tensors: the films' posters, overviews and genres.
        vectorizer: turns overviews into token ids; None if none are read.
        whole_split: the split of all films that were read; None if none was drawn, as for films to predict.
        to_predict: the films were read to be predicted, so they may lack genres and any number of posters.
    """

    usable: UsableFilms
    tensors: FilmTensors
    vectorizer: OverviewVectorizer | None
    whole_split: Split | None
    to_predict: bool = False

    @cached_property
    def split(self) -> Split | None:
        """The split of the usable films."""
        return self.whole_split and self.whole_split.restrict(self.usable.rows)

    def training_films(self, rows: npt.NDArray[np.integer], posters: int, batch_size: int) -> dict[str, Any]:
        """See `FilmData.training_films`; ``rows`` are the training films, ``batch_size`` posters are read at once."""
        films: dict[str, npt.NDArray[Any]] = {"genres": self.usable.table.genres[rows].astype(np.float32)}
        tokens = self.tensors.overviews
        if tokens is not None and self.vectorizer is not None:
            films |= {"overview": tokens[rows], "vocabulary": np.array(self.vectorizer.vocabulary)}
        if self.usable.posters is not None and posters:
            some = rows[np.linspace(0, len(rows) - 1, min(posters, len(rows))).round().astype(int)]
            batches = FilmBatches(self.tensors, some, min(len(some), batch_size))
            found = [np.asarray(batch["poster"])[np.asarray(batch["weight"]) > 0] for batch in batches]
            pixels = np.concatenate(found)
            films["poster"] = pixels[pixels.any(axis=(1, 2, 3))]
        return films

    def length_buckets(self, rows: npt.NDArray[np.integer], batch_size: int, most: int) -> LengthBuckets | None:
        """Buckets by overview length for batches of the films ``rows``; None if posters are read too."""
        tokens = self.tensors.overviews
        if self.usable.posters is not None or tokens is None:
            return None
        lengths = np.count_nonzero(tokens, axis=1).astype(np.int32)
        return LengthBuckets.choose(lengths, rows, batch_size, most, tokens.shape[1])

    def description(self, image_size: tuple[int, int], min_films: int) -> str:
        """Two to five lines: the number of films, what is read, where posters are, rare genres, films left out."""
        usable, vectorizer, table = self.usable, self.vectorizer, self.usable.table
        inputs = []
        if usable.posters is not None:
            inputs.append("posters at {} x {}".format(*image_size) + _where_kept(usable.posters))
        if vectorizer is not None:
            length, words = vectorizer.sequence_length, len(vectorizer.vocabulary)
            unit = "words" if vectorizer.word_split == "whitespace" else "characters or words"
            inputs.append(f"overviews of up to {length} {unit}, vocabulary {words:,}")
        if self.split is not None:
            inputs.append(str(self.split))
        count = len(table.genre_names)
        genres = "1 genre" if count == 1 else f"{count} genres"
        lines = [f"{len(table):,} films with {genres}, from {table.source}", "; ".join(inputs)]
        if usable.posters is not None and table.posters_found:
            lines.append(f"Posters: {table.posters_found}")
        rare, never = scarce_genres(table, min_films)
        about = []
        if rare:
            about.append(
                f"Fewer than {min_films} films: {shortened_list([f'{name} ({n})' for name, n in rare], _MOST_NAMES)}"
            )
        if never:
            about.append(f"{'never' if rare else 'Never'} occur: {shortened_list(never, _MOST_NAMES)}")
        if about and len(never) < len(table.genre_names):  # films to predict may come without genres
            lines.append("; ".join(about))
        if usable.left_out:
            lines.append(f"{len(usable.left_out)} left out: {summarize_left_out(usable.left_out)}")
        return "\n".join(lines)


def _where_kept(posters: np.ndarray | StreamedPosters) -> str:
    if isinstance(posters, StreamedPosters):
        return " (streamed)"
    return f" ({posters.nbytes / 1e6:,.0f} MB {'on disk' if isinstance(posters, np.memmap) else 'in memory'})"
