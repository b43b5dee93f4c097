"""What a run keeps of its films: in its checkpoints, so that others are read alike, and as files for people."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from kgenre.data.film_table import FilmTable, LeftOut
from kgenre.data.overviews import OverviewVectorizer
from kgenre.data.split import Split


@dataclass(frozen=True)
class KeptFilms:
    """How films become batches, as JSON values; see `FilmData` for the arguments of the same name.

    Args:
        split: film ids by part, see `Split.to_json`; None where none was drawn.
        arguments: of `FilmData` by name, those that the vocabulary and the split were made with; {} in checkpoints
            that do not know.
    """

    genre_names: Sequence[str]
    posters: bool
    overviews: bool
    image_size: tuple[int, int]
    vocabulary: Sequence[str]
    sequence_length: int | None
    split: dict[str, Any] | None = None
    # Checkpoints that were written before these existed were read so:
    resize: str = "squash"
    standardize: str | None = "lower_and_strip_punctuation"
    stem: str | None = None
    word_split: str = "whitespace"
    arguments: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values."""
        state = {one.name: getattr(self, one.name) for one in fields(self)}
        return state | {"genre_names": list(self.genre_names), "image_size": list(self.image_size)}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> KeptFilms:
        """The same from `to_json`, of this version or an older one."""
        known = {one.name: state[one.name] for one in fields(cls) if one.name in state}
        return cls(**known | {"image_size": tuple(state["image_size"])})

    @cached_property
    def vectorizer(self) -> OverviewVectorizer | None:
        """Of overviews, as the run reads them; None where it reads none."""
        if not self.overviews or self.sequence_length is None:
            return None
        return OverviewVectorizer(self.vocabulary, self.sequence_length, self.standardize, self.stem, self.word_split)

    def has_none_of(self, films: FilmTable) -> bool:
        """Whether there is a split, and none of the films is in it."""
        return bool(self.split and not any(Split.from_json(self.split, films.ids).sizes))

    def write(self, directory: str | os.PathLike[str], left_out: Sequence[LeftOut]) -> None:
        """Write ``split.json``, ``genres.txt``, ``vocabulary.txt`` and ``left_out.csv``, those that have something."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        if self.split is not None:
            (folder / "split.json").write_text(json.dumps(self.split, indent=1) + "\n", encoding="utf-8")
        for name, lines in (("genres.txt", self.genre_names), ("vocabulary.txt", self.vocabulary)):
            if lines:
                (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        if left_out:
            with (folder / "left_out.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([LeftOut._fields, *left_out])
