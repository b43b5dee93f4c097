"""What a run keeps about its films: in checkpoints, to read other films the same way, and as files for people."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kgenre.checkpoints.files import whole_file
from kgenre.data.errors import FilmDataError
from kgenre.data.film_marks import LETTERS, UNKNOWN, may_be_the_same
from kgenre.data.film_table import FilmTable, LeftOut
from kgenre.data.overviews import OverviewVectorizer
from kgenre.data.split import EVALUATED, PARTS, Split

_MOVED = 0.05  # of the films; up to this share, someone may have edited a few ids by hand
_NEARLY_ALL = 0.9  # of the films of a part; the others may have been removed since


@dataclass(frozen=True)
class KeptFilms:
    """The settings that turn films into batches, as JSON values; see `FilmData` for the arguments of the same name.

    Args:
        split: film ids by part, see `Split.to_json`; None if there is no split.
        arguments: the arguments of `FilmData` that determined the vocabulary and the split, by name; {} in checkpoints
            that do not record them.
        marks: the marks of the films of ``split``, concatenated, see `film_marks`; "" in checkpoints without them.
    """

    genre_names: Sequence[str]
    posters: bool
    overviews: bool
    image_size: tuple[int, int]
    vocabulary: Sequence[str]
    sequence_length: int | None
    split: dict[str, Any] | None = None
    # The defaults describe checkpoints that were written before these fields existed:
    resize: str = "squash"
    standardize: str | None = "lower_and_strip_punctuation"
    stem: str | None = None
    word_split: str = "whitespace"
    arguments: dict[str, Any] = field(default_factory=dict)
    marks: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return a dict of JSON values."""
        state = {one.name: getattr(self, one.name) for one in fields(self)}
        return state | {"genre_names": list(self.genre_names), "image_size": list(self.image_size)}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> KeptFilms:
        """Rebuild from the dict of `to_json`, of this version or an older one.

        Raises:
            FilmDataError: it is not the state of `FilmData`.
        """
        if missing := sorted(cls._required() - state.keys()):
            raise FilmDataError(
                f"The checkpoint's data have no {missing[0]}: its run was trained on other data than FilmData. Use the "
                "run's own datamodule, or a run that was trained on FilmData."
            )
        known = {one.name: state[one.name] for one in fields(cls) if one.name in state}
        return cls(**known | {"image_size": tuple(state["image_size"])})

    @classmethod
    def _required(cls) -> set[str]:
        return {one.name for one in fields(cls) if one.default is MISSING and one.default_factory is MISSING}

    @classmethod
    def of_run(cls, state: Mapping[str, Any]) -> KeptFilms | None:
        """Return what a checkpoint's ``state`` keeps of its films; None if the run was not trained on `FilmData`."""
        kept = (state.get("data") or {}).get("state") or {}
        return cls.from_json(kept) if cls._required() <= kept.keys() else None

    @cached_property
    def vectorizer(self) -> OverviewVectorizer | None:
        """The vectorizer for overviews, as the run reads them; None if it reads none."""
        if not self.overviews or self.sequence_length is None:
            return None
        return OverviewVectorizer(self.vocabulary, self.sequence_length, self.standardize, self.stem, self.word_split)

    def split_over(self, films: FilmTable) -> Split | None:
        """Return the split over these films; a film that shares only its id with a film of the split is in no part.

        Raises:
            FilmDataError: over 5 % of the films have an id that another film of the split had: ids were reassigned.
        """
        if self.split is None:
            return None
        replaced = self._replaced(films)
        moved = np.flatnonzero(replaced & self._match_marks(films, PARTS)).tolist() if replaced.any() else []
        if len(moved) > _MOVED * len(films):
            first = f"{films.ids[moved[0]]} ({films.titles[moved[0]] or films.overviews[moved[0]]:.40})"
            raise FilmDataError(
                f"{len(moved):,} of {len(films):,} films have an id that a different film had when the run began, such "
                f"as {first}. Ids that are row numbers change when rows are added, removed or sorted: use the original "
                "table, or different films with different ids."
            )
        others = {films.ids[row] for row in np.flatnonzero(replaced).tolist()}
        parts = {part: [film_id for film_id in self.split[part] if film_id not in others] for part in PARTS}
        return Split.from_json(self.split | parts, films.ids)

    def own_split(self, films: FilmTable, stage: str) -> Split | None:
        """Return the split over these films if they are the run's own, None if there is no split or they are others.

        To validate or test, they are its own if nearly all films of that part are among them; otherwise any is enough.
        """
        split = self.split_over(films)
        if self.split is None or split is None or not any(split.sizes):
            return None
        part = EVALUATED.get(stage)
        here = 1.0 if part is None or not self.split[part] else len(getattr(split, part)) / len(self.split[part])
        return split if here >= _NEARLY_ALL else None

    def seen_in_training(self, films: FilmTable) -> npt.NDArray[np.bool_]:
        """Return which films the run trained or validated on, even if their ids have changed since; bool (n,).

        The same overview is enough: another table may have titles where the run's had none, or other titles.
        """
        parts = ("train", "validation")
        ids = set(self._ids_of(parts))
        by_id = np.fromiter((film_id in ids for film_id in films.ids), bool, len(films))
        return by_id & ~self._replaced(films) | self._match_marks(films, parts) | self._match_overviews(films, parts)

    def _ids_of(self, parts: Sequence[str]) -> list[str]:
        return [film_id for part in parts for film_id in self.split[part]] if self.split else []

    @cached_property
    def _mark_of(self) -> dict[str, str]:
        """The mark of each film of the split, by id; "" for each with older checkpoints."""
        return {film_id: self.marks[LETTERS * i : LETTERS * (i + 1)] for i, film_id in enumerate(self._ids_of(PARTS))}

    def _replaced(self, films: FilmTable) -> npt.NDArray[np.bool_]:
        """Return which films have the id of a film of the split but are other films."""
        of_run = np.array([self._mark_of.get(film_id) or UNKNOWN for film_id in films.ids], f"U{LETTERS}")
        return ~may_be_the_same(films.marks, of_run)

    def _match_marks(self, films: FilmTable, parts: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return which films have the title and overview of a film of these parts, whatever their ids."""
        known = {self._mark_of[film_id] for film_id in self._ids_of(parts)} - {UNKNOWN}
        return np.isin(films.marks, list(known))

    def _match_overviews(self, films: FilmTable, parts: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return which films have the overview of a film of these parts, whatever their ids and titles."""
        half = LETTERS // 2
        known = {self._mark_of[film_id][half:] for film_id in self._ids_of(parts)} - {UNKNOWN[half:]}
        return np.isin([mark[half:] for mark in films.marks], list(known))

    def has_none_of(self, films: FilmTable) -> bool:
        """Return whether there is a split and none of the films is in it."""
        split = self.split_over(films)
        return split is not None and not any(split.sizes)

    def write(self, directory: str | os.PathLike[str], left_out: Sequence[LeftOut]) -> None:
        """Write ``split.json``, ``genres.txt``, ``vocabulary.txt`` and ``left_out.csv``, skipping empty ones.

        If no film is left out, the ``left_out.csv`` from before the run was resumed is removed.
        """
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        if self.split is not None:
            with whole_file(folder / "split.json") as partial:
                partial.write_text(json.dumps(self.split, indent=1) + "\n", encoding="utf-8")
        for name, lines in (("genres.txt", self.genre_names), ("vocabulary.txt", self.vocabulary)):
            if lines:
                with whole_file(folder / name) as partial:
                    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
        if left_out:
            # Paths in reasons may not be UTF-8.
            with (
                whole_file(folder / "left_out.csv") as partial,
                partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
            ):
                csv.writer(file).writerows([LeftOut._fields, *left_out])
        else:
            (folder / "left_out.csv").unlink(missing_ok=True)
