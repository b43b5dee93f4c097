"""Films from a folder to batches: the DataModule of the film half."""

from __future__ import annotations

import csv
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kgenre.data.augmentation import Augmentation
from kgenre.data.batch_plan import LengthBuckets
from kgenre.data.batches import FilmBatches, FilmTensors
from kgenre.data.errors import FilmDataError
from kgenre.data.film_table import FilmTable, LeftOut
from kgenre.data.formats import read_films
from kgenre.data.known_genres import map_to_known_genres
from kgenre.data.overviews import STANDARDIZE, OverviewVectorizer, normalised_overview, stemming_languages
from kgenre.data.poster_decoding import RESIZE
from kgenre.data.poster_files import PosterFile, examine_posters
from kgenre.data.poster_table import PLACES
from kgenre.data.posters import read_poster
from kgenre.data.progress_line import ProgressLine
from kgenre.data.split import PARTS, Split, check_fractions, split_films
from kgenre.data.streamed_posters import StreamedPosters
from kgenre.data.usable_films import PosterOptions, UsableFilms, find_usable_films, name_some
from kgenre.training.data_module import DataModule

INCOMPLETE = ("leave_out", "keep")
_log = logging.getLogger("kgenre")


class FilmData(DataModule):
    """Films from disk as batches of posters, overviews and genres.

    A batch is a dict: ``poster`` uint8 (B, H, W, 3), ``overview`` int32 (B, T), ``genres`` float32 (B, G),
    ``index`` int32 (B), the row in `table`, and ``weight`` float32 (B), 0 for films that only fill the last
    batch up.

    The split is drawn over all films that were read, before any is left out for its poster or overview: a
    poster model and an overview model of the same folder are tested on the same side of it.

    Args:
        path: a folder or CSV file that `read_films` knows; None for the sample set.
        format: "auto", or the layout to read it as (see `kgenre.data.formats`).
        posters: use posters; films whose poster is missing or bad are left out.
        overviews: use overviews; films without one are left out.
        image_size: (height, width) of the posters, in pixels.
        batch_size: films in a batch.
        vocabulary_size: most words known, counted on the training overviews.
        sequence_length: words read of an overview; None for the longest training overview, at most 200.
        val_fraction: share of the films for validation.
        test_fraction: share of the films for the test.
        split_seed: another seed, another split.
        seed: of the order and augmentation of the training films.
        augment: false; true to flip and shift training posters; or shares by name, of `Augmentation`:
            ``{flip: 0.5, shift: 0.1, crop: 0.2, color: 0.2, erase: 0.25}``.
        max_bad_fraction: more missing or bad posters than this share of the films is an error.
        resize: how a poster gets its size: "squash" (as the course does), "letterbox" (whole, with black bars) or
            "crop" (the middle).
        poster_table: where decoded posters are kept: "memory", "disk" (a memory-mapped file in the cache, used again
            by the next run), "stream" (nowhere: decoded for each batch, in constant memory), or "auto" by what is free.
        length_buckets: of models that read overviews only: training overviews are padded to one of at most so many
            lengths, each batch to that of its films; 1 pads all to the longest. Fewer are taken where an epoch has
            fewer than eight batches for each.
        given_split: keep the split that the source comes with (MM-IMDb's), where it has one.
        standardize: what is done to overviews before they are split into words: "lower_and_strip_punctuation",
            "lower", "strip_punctuation" or null for nothing.
        stem: null, or the language whose Snowball stemmer takes the endings off words: "english".
        min_df: words that fewer training overviews hold are unknown.
        incomplete: what to do with films that lack their poster or their overview where both are used: "leave_out", or
            "keep" them for a network that does with either, such as "poster_overview_fusion": a missing poster is
            black, a missing overview has no words.

    Raises:
        FilmDataError: an argument that cannot be; from `setup`, data that cannot be used.

    Example:
        >>> films = FilmData("films", overviews=False, batch_size=64)
        >>> films.setup("fit")
        >>> batch = next(iter(films.train_dataloader()))
        >>> batch["poster"].shape, batch["genres"].shape
        (TensorShape([64, 64, 64, 3]), TensorShape([64, 20]))
    """

    def __init__(
        self,
        path: str | None = None,
        format: str = "auto",
        posters: bool = True,
        overviews: bool = True,
        image_size: tuple[int, int] = (64, 64),
        batch_size: int = 64,
        vocabulary_size: int = 10_000,
        sequence_length: int | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.2,
        split_seed: int = 0,
        seed: int = 0,
        augment: bool | dict[str, float] = False,
        max_bad_fraction: float = 0.01,
        resize: str = "squash",
        poster_table: str = "auto",
        length_buckets: int = 4,
        standardize: str | None = "lower_and_strip_punctuation",
        given_split: bool = True,
        stem: str | None = None,
        min_df: int = 1,
        incomplete: str = "leave_out",
    ) -> None:
        self.save_hyperparameters()
        if not (posters or overviews):
            raise FilmDataError("posters=False and overviews=False leave nothing to learn from. Set one to True.")
        if len(image_size) != 2 or min(image_size) < 1:
            raise FilmDataError(
                f"image_size={image_size} is not a size. Give height and width in pixels, such as (64, 64)."
            )
        _at_least("batch_size", batch_size, 1, "64")
        _at_least("vocabulary_size", vocabulary_size, 3, "10000")
        _at_least("sequence_length", sequence_length, 1, "100, or null for the longest overview")
        _at_least("split_seed", split_seed, 0, "0")
        _at_least("seed", seed, 0, "0")
        check_fractions(val_fraction, test_fraction)
        if not 0 <= max_bad_fraction <= 1:
            raise FilmDataError(f"max_bad_fraction={max_bad_fraction:g} is not a share. Give 0 to 1, such as 0.01.")
        _one_of("resize", resize, RESIZE)
        _one_of("poster_table", poster_table, PLACES)
        _at_least("length_buckets", length_buckets, 1, "4")
        _one_of("standardize", standardize, STANDARDIZE)
        if stem is not None:
            _one_of("stem", stem, (None, *stemming_languages()))
        _at_least("min_df", min_df, 1, "2")
        _one_of("incomplete", incomplete, INCOMPLETE)
        if incomplete == "keep" and poster_table == "stream":
            raise FilmDataError("incomplete='keep' needs a table of posters: set --data.poster_table memory or disk.")
        self.path = path
        self.format = format
        self.posters = posters
        self.overviews = overviews
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.batch_size = batch_size
        self.vocabulary_size = vocabulary_size
        self.sequence_length = sequence_length
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self.seed = seed
        self.augment = Augmentation.of(augment)
        self.max_bad_fraction = max_bad_fraction
        self.resize = resize
        self.poster_table = poster_table
        self.length_buckets = length_buckets
        self.standardize = standardize
        self.given_split = given_split
        self.stem = stem
        self.min_df = min_df
        self.incomplete = incomplete
        self._state: dict[str, Any] = {}  # of a checkpoint
        self._vectorizer: OverviewVectorizer | None = None
        self._forget_films()

    def _forget_films(self) -> None:
        self._all_films: FilmTable | None = None  # as read, before any is left out
        self._poster_files: list[PosterFile] | None = None
        self._usable: UsableFilms | None = None
        self._tokens: npt.NDArray[np.int32] | None = None
        self._tensors: FilmTensors | None = None
        self._whole_split: Split | None = None  # over all films as read
        self._split: Split | None = None  # over the usable ones

    # ---------- reading

    def prepare_data(self) -> None:
        """Make the sample set, where no path is given and it is not there yet."""
        self._folder()

    def setup(self, stage: str) -> None:
        """Read, check, decode and split, once; "predict" does without a split and without genres."""
        first = self._tensors is None
        if first:
            try:
                self._read(stage)
            except BaseException:
                self._forget_films()
                raise
        if stage != "predict":
            if not self.table.genre_names:
                raise FilmDataError(
                    f"No film of {self.table.source} has a genre: there is nothing to learn or to test."
                )
            self._draw_split()
        if first:
            _log.info("%s", self.description)

    def _folder(self) -> str | os.PathLike[str]:
        if self.path is not None:
            return self.path
        from kgenre.data.sample import sample_films

        return sample_films()

    def _read(self, stage: str) -> None:
        films = read_films(self._folder(), self.format)
        if self._state:
            films = map_to_known_genres(films, self._state["genre_names"])
        for note in films.notes:
            _log.warning("%s", note)
        self._all_films = films
        with ProgressLine("Looking at posters") as progress:
            self._poster_files = examine_posters(films.poster_paths, films.root, progress)
        # Films to predict are whatever somebody has: what cannot be read of them is named and left out.
        most_bad = 1.0 if stage == "predict" or self._may_lack else self.max_bad_fraction
        options = PosterOptions(self.image_size, self.resize, self.poster_table, most_bad, self._may_lack)
        usable = find_usable_films(films, self._poster_files, options if self.posters else None, self.overviews)
        self._usable = usable
        if usable.left_out:
            _log.warning("%d films are left out: %s.", len(usable.left_out), name_some(usable.left_out))
        if self.overviews:
            if self._vectorizer is None:
                training = [self.table.overviews[i] for i in self.split.train]
                self._vectorizer = OverviewVectorizer.adapt(
                    training, self.vocabulary_size, self.sequence_length, self.standardize, self.stem, self.min_df
                )
            self._tokens = self._vectorizer.encode(self.table.overviews)
        self._tensors = FilmTensors(self.table.genres, usable.posters, self._tokens, usable.poster_rows)

    @property
    def _may_lack(self) -> bool:
        return self.incomplete == "keep" and self.posters and self.overviews

    def _draw_split(self) -> Split:
        if self._split is None:
            usable, films = self._read_films, self._all_films
            saved = Split.from_json(self._state["split"], films.ids) if self._state.get("split") else None
            if saved is not None and sum(saved.sizes):
                self._whole_split = saved
                _log_changes(saved, self._state["split"])
            elif self.given_split and films.split:
                state = {"seed": self.split_seed, "grouped": 0, **dict.fromkeys(PARTS, ()), **films.split}
                self._whole_split = Split.from_json(state, films.ids)
                _log.info("The split is the one that the films come with (--data.given_split).")
            else:
                self._whole_split = split_films(
                    films, self.val_fraction, self.test_fraction, self.split_seed, self._poster_files
                )
            self._split = self._whole_split.restrict(usable.rows)
        return self._split

    @property
    def _read_films(self) -> UsableFilms:
        if self._usable is None:
            raise RuntimeError("FilmData has read nothing yet: call setup('fit') first.")
        return self._usable

    # ---------- what is there

    @property
    def table(self) -> FilmTable:
        """The films that are used; ``index`` in a batch is a row of it."""
        return self._read_films.table

    @property
    def bad_posters(self) -> tuple[LeftOut, ...]:
        """Films that are left out because their poster is missing or bad."""
        return self._read_films.bad_posters

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """All films that are left out, with the reason."""
        return self._read_films.left_out

    @property
    def split(self) -> Split:
        """Training, validation and test rows of `table`."""
        return self._draw_split()

    @property
    def genre_names(self) -> tuple[str, ...]:
        """The names of the columns of ``genres``."""
        return tuple(self._state["genre_names"]) if self._state else self.table.genre_names

    @property
    def vocabulary(self) -> list[str]:
        """The words by token id, "" and "[UNK]" first; [] without overviews."""
        return self._vectorizer.vocabulary if self._vectorizer else []

    @property
    def description(self) -> str:
        """Two or three lines for people: what was found, its size, what was left out."""
        table = self.table
        never = [n for n, count in zip(table.genre_names, table.genres.sum(axis=0), strict=True) if not count]
        genres = f"{len(table.genre_names)} genres" + (f" ({', '.join(never)} never occur)" if never else "")
        inputs = []
        if self.posters:
            inputs.append("posters at {} x {}".format(*self.image_size) + self._kept())
        if self.overviews:
            longest = self._vectorizer.sequence_length
            inputs.append(f"overviews of up to {longest} words, vocabulary {len(self.vocabulary):,}")
        lines = [f"{len(table):,} films with {genres}, from {table.source}", "; ".join(inputs)]
        if self._split is not None:
            lines[1] += f"; {self._split}"
        if self.left_out:
            lines.append(f"{len(self.left_out)} left out: {name_some(self.left_out)}")
        return "\n".join(lines)

    def _kept(self) -> str:
        posters = self._read_films.posters
        if posters is None or isinstance(posters, StreamedPosters):
            return " (streamed)" if posters is not None else ""
        return f" ({posters.nbytes / 1e6:,.0f} MB {'on disk' if isinstance(posters, np.memmap) else 'in memory'})"

    def training_films(self) -> dict[str, npt.NDArray[Any]]:
        """What a network may learn of the training films before its first step, after `setup`.

        Returns:
            ``genres`` float32 (n, G) and, where overviews are used, ``overview`` int32 (n, T) token ids.
        """
        rows = self.split.train
        overviews = {} if self._tokens is None else {"overview": self._tokens[rows]}
        return {"genres": self.table.genres[rows].astype(np.float32)} | overviews

    # ---------- batches

    def train_dataloader(self) -> FilmBatches:
        """Training films, in another order each epoch; augmented if asked for."""
        return self._batches("train", shuffle=True, augment=self.augment, buckets=self._buckets())

    def val_dataloader(self) -> FilmBatches | None:
        """Validation films in the order of the table; None where there are none."""
        return self._batches("validation") if len(self.split.validation) else None

    def test_dataloader(self) -> FilmBatches:
        """Test films in the order of the table."""
        return self._batches("test")

    def predict_dataloader(self) -> FilmBatches:
        """All films of the table, in its order."""
        return FilmBatches(self._tensors, np.arange(len(self.table)), self.batch_size)

    def _buckets(self) -> LengthBuckets | None:
        if self._tokens is None or self.posters:
            return None
        lengths = (self._tokens != 0).sum(axis=1, dtype=np.int32)
        width = self._tokens.shape[1]
        return LengthBuckets.choose(lengths, self.split.train, self.batch_size, self.length_buckets, width)

    def _batches(self, part: str, **options: Any) -> FilmBatches:
        rows = getattr(self.split, part)
        if not len(rows):
            raise FilmDataError(
                f"There are no {part} films ({self.split}). Give more films, or another --data.test_fraction."
            )
        return FilmBatches(self._tensors, rows, self.batch_size, seed=self.seed, **options)

    def encode(
        self,
        posters: Sequence[str | os.PathLike[str]] | None = None,
        overviews: Sequence[str] | None = None,
    ) -> dict[str, npt.NDArray[Any]]:
        """A batch of films that are not in the table, after `load_state_dict` or `setup`.

        Args:
            posters: n picture files; needed where the model reads posters, unused where it does not. With
                ``incomplete="keep"`` one of both is enough.
            overviews: n texts, likewise.

        Returns:
            ``poster`` uint8 (n, H, W, 3), ``overview`` int32 (n, T), ``genres`` float32 (n, G) zeros,
            ``index`` and ``weight`` as in any batch.

        Raises:
            FilmDataError: a poster or overview that is needed is absent, bad or empty.

        Example:
            >>> films.encode(posters=["alien.jpg"])["poster"].shape
            (1, 64, 64, 3)
        """
        given = {"poster": posters or None, "overview": overviews or None}
        needed = {"poster": self.posters, "overview": self.overviews}
        lacking = [name for name, values in given.items() if needed[name] and values is None]
        for name, values in given.items():
            if name in lacking and not (self._may_lack and len(lacking) == 1):
                raise FilmDataError(f"This model reads {name}s: give the film's {name} (--{name}).")
            if values is not None and not needed[name]:
                _log.warning("The %s is not used: this model does not read %ss.", name, name)
        counts = {name: len(given[name]) for name in given if needed[name] and given[name] is not None}
        if len(set(counts.values())) > 1:
            raise FilmDataError(f"As many posters as overviews are needed. Received: {counts}.")
        n = next(iter(counts.values()))
        batch: dict[str, npt.NDArray[Any]] = {}
        if "poster" in lacking:
            batch["poster"] = np.zeros((n, *self.image_size, 3), np.uint8)
        elif self.posters:
            batch["poster"] = np.stack([read_poster(path, self.image_size, self.resize) for path in posters])
        if self.overviews:
            if self._vectorizer is None:
                raise RuntimeError("FilmData has no vocabulary yet: call load_state_dict(...) or setup(...) first.")
            for text in overviews or ():
                if not normalised_overview(text):
                    raise FilmDataError(f"The overview {text!r} has no words. Give a sentence or two about the film.")
            batch["overview"] = self._vectorizer.encode(overviews or [""] * n)
        return batch | {
            "genres": np.zeros((n, len(self.genre_names)), np.float32),
            "index": np.arange(n, dtype=np.int32),
            "weight": np.ones(n, np.float32),
        }

    # ---------- kept
    # with a run

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, as JSON values: genres, vocabulary, sizes and the split's film ids."""
        if self._usable is None:
            return self._state
        whole = self._whole_split
        return {
            "genre_names": list(self.genre_names),
            "posters": self.posters,
            "overviews": self.overviews,
            "image_size": list(self.image_size),
            "resize": self.resize,
            "vocabulary": self.vocabulary,
            "sequence_length": self._vectorizer.sequence_length if self._vectorizer else None,
            "standardize": self.standardize,
            "stem": self.stem,
            "split": whole.to_json() if whole else self._state.get("split"),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take a checkpoint's genres, vocabulary, sizes and split over; `setup` then adapts none of them."""
        if not state or state == self.state_dict():
            return
        if self.image_size != tuple(state["image_size"]):
            _log.info("image_size is %s, as in the checkpoint.", tuple(state["image_size"]))
        self._state = state
        self.posters, self.overviews = state["posters"], state["overviews"]
        self.image_size = tuple(state["image_size"])
        self.resize = state.get("resize", "squash")
        words, length = state["vocabulary"], state["sequence_length"]
        self.standardize = state.get("standardize", "lower_and_strip_punctuation")
        self.stem = state.get("stem")
        self._vectorizer = OverviewVectorizer(words, length, self.standardize, self.stem) if self.overviews else None
        self._forget_films()

    def save_artifacts(self, directory: str | os.PathLike[str]) -> None:
        """Write ``split.json``, ``genres.txt``, ``vocabulary.txt`` and, if any film was, ``left_out.csv``."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        if self._whole_split is not None:
            text = json.dumps(self._whole_split.to_json(), indent=1)
            (folder / "split.json").write_text(text + "\n", encoding="utf-8")
        for name, lines in (("genres.txt", self.genre_names), ("vocabulary.txt", self.vocabulary)):
            if lines:
                (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        if self._usable is not None and self.left_out:
            with (folder / "left_out.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([LeftOut._fields, *self.left_out])


def _at_least(name: str, value: int | None, least: int, example: str) -> None:
    if value is not None and value < least:
        raise FilmDataError(f"{name}={value} is too small. Give {least} or more, such as {example}.")


def _one_of(name: str, value: str | None, known: Sequence[str | None]) -> None:
    if value not in known:
        raise FilmDataError(f"{name}={value!r} is not known. Give one of {', '.join(one or 'null' for one in known)}.")


def _log_changes(split: Split, state: dict[str, Any]) -> None:
    new = len(split.ids) - sum(split.sizes)
    gone = sum(len(state[part]) for part in PARTS) - sum(split.sizes)
    if new or gone:
        _log.warning("The checkpoint's split is kept. Films in no part of it: %d; not in the data: %d.", new, gone)
