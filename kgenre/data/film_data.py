"""`FilmData`, the DataModule for films: from a folder to batches."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kgenre.data.augmentation import Augmentation
from kgenre.data.batches import FilmBatches
from kgenre.data.errors import FilmDataError, NotReadError
from kgenre.data.film_arguments import check_film_arguments
from kgenre.data.film_table import FilmTable, LeftOut
from kgenre.data.films_in_use import FilmsInUse, select_films, summarize_left_out
from kgenre.data.formats import read_films
from kgenre.data.genres import check_genres, map_to_known_genres
from kgenre.data.given_films import encode_given
from kgenre.data.kept_films import KeptFilms
from kgenre.data.kept_tokens import adapted, encoded
from kgenre.data.overviews import OverviewVectorizer
from kgenre.data.poster_table import poster_key
from kgenre.data.posters import Poster
from kgenre.data.split import Split
from kgenre.data.split_choice import choose_split, refuse_other_films
from kgenre.data.text_words import word_split_advice
from kgenre.training.data_module import DataModule

_log = logging.getLogger("kgenre")

# A run keeps its values of these arguments, whatever is given when it is resumed or tested.
_OF_FILMS = ("posters", "overviews", "image_size", "resize", "standardize", "stem", "word_split")
_OF_VOCABULARY = ("vocabulary_size", "sequence_length", "min_df")
_OF_SPLIT = ("val_fraction", "test_fraction", "split_seed", "given_split")
_OF_ARGUMENTS = (*_OF_VOCABULARY, *_OF_SPLIT)


class FilmData(DataModule):
    """Films from disk as batches of posters, overviews and genres.

    A batch is a dict: ``poster`` uint8 (B, H, W, 3), ``overview`` int32 (B, T), ``genres`` float32 (B, G),
    ``index`` int32 (B), the row in `table`, and ``weight`` float32 (B), 0 for films that only pad the last batch.

    The split is drawn over all films that were read, before any is left out for its poster or overview: a
    poster model and an overview model of the same folder have the same training, validation and test films.

    A checkpoint fixes the sizes, the vocabulary and the split: arguments that would change them are replaced by
    its run's, with a message. Other arguments may be changed.

    Args:
        path: a folder or table that `read_films` can read; None: the sample films.
        format: "auto", or the layout to read it as (see `kgenre.data.formats`).
        posters: use posters; films whose poster is missing or unreadable are left out.
        overviews: use overviews; films without one are left out.
        image_size: (height, width) of the posters, in pixels.
        batch_size: films per batch; with fewer films, batches are hardly larger than their number.
        vocabulary_size: the largest vocabulary, counted on the training overviews.
        sequence_length: words read from an overview; None: those of the longest training overview, at most 200.
        val_fraction: share of the films in the validation set.
        test_fraction: share of the films in the test set.
        split_seed: another seed gives another split. A run that is resumed or tested keeps its split.
        seed: random seed for the order and augmentation of the training films.
        augment: false; true to flip and shift training posters; or the arguments of `Augmentation`:
            ``{flip: 0.5, shift: 0.1, crop: 0.2, color: 0.2, erase: 0.25}``.
        max_bad_fraction: a larger share of missing or unreadable posters is an error.
        resize: how posters are resized: "squash" (as the course does), "letterbox" (whole, with black bars) or
            "crop" (the centre).
        poster_table: where decoded posters are kept: "memory", "disk" (a memory-mapped file in the cache, reused
            by the next run), "stream" (nowhere: decoded for each batch, in constant memory), or "auto": on disk from
            100 MB on if there is plenty of space, otherwise depending on what is free.
        length_buckets: for models that read overviews only: each training batch is padded to one of at most this many
            lengths; 1: all to the longest. Fewer lengths are used if an epoch has fewer than eight batches for each.
        given_split: use the split that comes with the data (as MM-IMDb's), if there is one.
        standardize: how overviews are normalised before they are split into words: "lower_and_strip_punctuation",
            "lower" or "strip_punctuation", for ASCII only, as in Keras; "unicode": lower-case and strip in
            all scripts; null: not at all.
        stem: the language of a Snowball stemmer, such as "english"; null: no stemming.
        min_df: words in fewer training overviews than this are unknown words.
        incomplete: films that lack a poster or an overview if both are used: "leave_out", or
            "keep" them for a network that needs only one, such as "poster_overview_fusion": a missing poster is
            black, a missing overview has no words.
        min_films: genres with fewer films, or with none, are named when films are read.
        word_split: "whitespace"; or "character" for Chinese, Japanese, Thai and others without spaces between
            words: each character is a word.
        drop_remainder: leave out the last training batch of an epoch if it is not full. Otherwise it is padded with
            films of weight 0: its shape is the same, and no film is missed.

    Raises:
        FilmDataError: an invalid argument; from `setup`, data that cannot be used.

    Example:
        >>> films = FilmData("films", overviews=False, batch_size=64)
        >>> films.setup("fit")
        >>> batch = next(iter(films.train_dataloader()))
        >>> batch["poster"].shape, batch["genres"].shape
        (TensorShape([64, 64, 64, 3]), TensorShape([64, 10]))
    """

    batch_arguments: ClassVar[tuple[str, ...]] = (*DataModule.batch_arguments, "length_buckets")

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
        min_films: int = 20,
        drop_remainder: bool = False,
        word_split: str = "whitespace",
    ) -> None:
        self.save_hyperparameters()
        check_film_arguments(locals())
        # Converted, as NumPy's numbers are accepted too: checkpoints keep JSON, and Keras takes Python's int only.
        self.path = path
        self.format = format
        self.posters = bool(posters)
        self.overviews = bool(overviews)
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.batch_size = int(batch_size)
        self.vocabulary_size = int(vocabulary_size)
        self.sequence_length = None if sequence_length is None else int(sequence_length)
        self.val_fraction = float(val_fraction)
        self.test_fraction = float(test_fraction)
        self.split_seed = int(split_seed)
        self.seed = int(seed)
        self.augment = Augmentation.of(augment)
        self.max_bad_fraction = float(max_bad_fraction)
        self.resize = resize
        self.poster_table = poster_table
        self.length_buckets = int(length_buckets)
        self.standardize = standardize
        self.given_split = bool(given_split)
        self.stem = stem
        self.min_df = int(min_df)
        self.incomplete = incomplete
        self.min_films = int(min_films)
        self.drop_remainder = bool(drop_remainder)
        self.word_split = word_split
        self._kept: KeptFilms | None = None  # from a checkpoint
        self._films: FilmsInUse | None = None
        # What held before a stage loaded a checkpoint: what an earlier one kept, and the arguments.
        self._before_stage: tuple[KeptFilms | None, dict[str, Any]] | None = None

    # ---------- reading

    def prepare_data(self) -> None:
        """Create the sample films, if no path is given and they do not exist yet."""
        self._folder()

    def setup(self, stage: str) -> None:
        """Read, check, decode and split, once; "predict" needs no split and no genres.

        Films that are not those of the checkpoint's run are split anew for a stage that evaluates another part. A fit
        without ``ckpt_path`` uses the given arguments again that the checkpoint of an earlier stage has replaced.
        """
        trainer = self.trainer
        if stage == "fit" and trainer and trainer.state.status == "running" and trainer.ckpt_path is None:
            self._undo_stage()
        if self._films is not None and self._films.to_predict and stage != "predict":
            self._films = None  # films to predict may lack genres and posters: read them again, with all checks
        if self._films is None:
            self._films = self._read(stage)
            _log.info("%s", self.description)
        elif stage != "predict":
            refuse_other_films(self.trainer, self._kept, stage, self._films.all_films)
            if self._films.stage != stage and not (self._are_own(self._films.stage) and self._are_own(stage)):
                whole = self._draw_split(self._films, stage)
                self._films = replace(self._films, whole_split=whole, stage=stage)
                _log.info("%s", self.description)
        if stage == "fit" and self._kept and not self._are_own("fit"):
            # The module will have been trained on these: from now on, they are the run's own.
            self._kept = replace(self._kept, split=None, marks="")
            self._kept = self._films_to_keep()

    def _are_own(self, stage: str) -> bool:
        """Whether these are the films of the checkpoint's run, or there is none."""
        kept = self._kept
        return kept is None or kept.split is None or kept.own_split(self._in_use.all_films, stage) is not None

    def _folder(self) -> str | os.PathLike[str]:
        if self.path is not None:
            return self.path
        from kgenre.data.sample import sample_films

        return sample_films()

    def _read(self, stage: str) -> FilmsInUse:
        if stage == "fit" and self.augment and not self.posters:
            _log.warning("augment has no effect: it changes posters, and none are read (posters=False).")
        # Films to predict may be anything: those that cannot be read are logged and left out, however many.
        most_bad = 1.0 if stage == "predict" or self._may_lack else self.max_bad_fraction
        films = self._read_table(stage)
        found = select_films(
            films,
            self.posters,
            self.overviews,
            self.image_size,
            self.resize,
            self.poster_table,
            most_bad,
            self._may_lack,
        )
        if found.left_out:
            _log.warning("Left out (%s): %s.", f"{len(found.left_out):,}", summarize_left_out(found.left_out))
        unused = {film.id for film in found.left_out}
        if without_poster := [bad for bad in found.bad_posters if bad.id not in unused]:
            count = f"{len(without_poster):,}"
            _log.warning("Used without a poster (%s): %s.", count, summarize_left_out(without_poster))
        split = None if stage == "predict" else self._draw_split(found, stage)
        vectorizer, tokens = self._vectorizer, None
        if self.overviews:
            if vectorizer is None:
                split = split or self._draw_split(found, "fit")
                vectorizer = self._learned_vectorizer(found.table, split.restrict(found.rows))
            tokens = encoded(found.table.overviews, vectorizer)
        return replace(found, vectorizer=vectorizer, tokens=tokens, whole_split=split, stage=stage)

    def _read_table(self, stage: str) -> FilmTable:
        """Read the films, log the notes about them, and refuse those that do not fit the stage."""
        films = read_films(self._folder(), self.format)
        notes = films.notes if stage == "predict" else (*check_genres(films), *films.notes)
        if self._kept:
            films = map_to_known_genres(films, self._kept.genre_names, to_predict=stage == "predict")
        for note in notes:
            _log.warning("%s", note)
        if stage != "predict":
            refuse_other_films(self.trainer, self._kept, stage, films)
        return films

    def _learned_vectorizer(self, table: FilmTable, split: Split) -> OverviewVectorizer:
        """Learn the vocabulary, from the training films only."""
        training = self._rows("train", split, table)
        for advice in word_split_advice(table.overviews, self.standardize, self.word_split):
            _log.warning("%s", advice)
        names = ("vocabulary_size", "sequence_length", "standardize", "stem", "min_df", "word_split")
        return adapted(table.overviews, training, **{name: getattr(self, name) for name in names})

    @property
    def _may_lack(self) -> bool:
        return self.incomplete == "keep" and self.posters and self.overviews

    def _draw_split(self, films: FilmsInUse, stage: str) -> Split:
        if self._kept and self._kept.own_split(films.all_films, stage):
            self._restore_arguments(self._kept.arguments, _OF_SPLIT)
        fractions = self.val_fraction, self.test_fraction
        return choose_split(
            films.all_films, films.poster_files, self._kept, self.given_split, fractions, self.split_seed, stage
        )

    @property
    def _in_use(self) -> FilmsInUse:
        if self._films is None:
            raise NotReadError("FilmData has read no films yet: call setup('fit') first.")
        return self._films

    @property
    def _vectorizer(self) -> OverviewVectorizer | None:
        if self._films is not None:
            return self._films.vectorizer
        return self._kept.vectorizer if self._kept else None

    # ---------- what is there

    @property
    def table(self) -> FilmTable:
        """The films that are used; ``index`` in a batch refers to its rows."""
        return self._in_use.table

    @property
    def bad_posters(self) -> tuple[LeftOut, ...]:
        """Films whose poster is missing or bad; with ``incomplete="keep"`` they may be used without a poster."""
        return self._in_use.bad_posters

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """All films that are left out, with the reason."""
        return self._in_use.left_out

    @property
    def split(self) -> Split:
        """Training, validation and test rows of `table`."""
        films = self._in_use
        if films.split is not None:
            return films.split
        whole = self._draw_split(films, "fit")  # the films were read for prediction, without a split
        self._films = replace(films, whole_split=whole)
        return whole.restrict(films.rows)

    @property
    def genre_names(self) -> tuple[str, ...]:
        """The names of the columns of ``genres``."""
        return tuple(self._kept.genre_names) if self._kept else self.table.genre_names

    @property
    def vocabulary(self) -> list[str]:
        """The words by token id, "" and "[UNK]" first; [] without overviews."""
        return self._vectorizer.vocabulary if self._vectorizer else []

    @property
    def posters_key(self) -> str:
        """A key that identifies the posters of `table` and how they are read; "" without posters."""
        films = self._in_use
        return poster_key(films.poster_files.take(films.rows), self.image_size, self.resize) if self.posters else ""

    @property
    def description(self) -> str:
        """A summary in a few lines: what was found, its size, rare genres."""
        return self._in_use.description(self.image_size, self.min_films)

    def training_films(self, posters: int = 0) -> dict[str, npt.NDArray[Any]]:
        """What a network may see of the training films before its first step; call it after `setup`.

        Args:
            posters: the largest number of posters to return, from films spread evenly over the training films.

        Returns:
            ``genres`` float32 (n, G); if overviews are used, ``overview`` int32 (n, T) token ids and ``vocabulary``,
            the words by id, "" and "[UNK]" first; if posters are used and requested, ``poster`` uint8 (at most
            ``posters``, H, W, 3), without films that lack a poster.

        Raises:
            FilmDataError: there are no training films.
        """
        rows = self._rows("train", self.split, self.table)
        return self._in_use.training_films(rows, posters, self.batch_size)

    # ---------- batches

    def train_dataloader(self) -> FilmBatches:
        """Training films, in a different order each epoch (`FilmBatches.epoch_batches`); augmented with ``augment``."""
        rows = self.split.train
        if self.drop_remainder and len(rows) < self.batch_size:
            raise FilmDataError(
                f"{len(rows)} training films are too few to fill a batch of {self.batch_size}. "
                "Set a smaller --data.batch_size, or --data.drop_remainder false."
            )
        buckets = self._in_use.length_buckets(rows, self.batch_size, self.length_buckets)
        options = {"augment": self.augment, "buckets": buckets, "drop_remainder": self.drop_remainder}
        return self._batches("train", shuffle=True, **options)

    def val_dataloader(self) -> FilmBatches | None:
        """Validation films in the order of the table; None if there are none."""
        return self._batches("validation") if len(self.split.validation) else None

    def test_dataloader(self) -> FilmBatches:
        """Test films in the order of the table."""
        return self._batches("test")

    def predict_dataloader(self) -> FilmBatches:
        """All films of the table, in its order."""
        return FilmBatches(self._in_use.tensors, np.arange(len(self.table)), self.batch_size)

    def batches_by_length(self) -> FilmBatches:
        """All films of the table for a network that ignores padding: quicker than in order, see ``length_buckets``."""
        rows = np.arange(len(self.table))
        buckets = self._in_use.length_buckets(rows, self.batch_size, self.length_buckets)
        return FilmBatches(self._in_use.tensors, rows, self.batch_size, buckets=buckets)

    def _batches(self, part: str, **options: Any) -> FilmBatches:
        rows = self._rows(part, self.split, self.table)
        return FilmBatches(self._in_use.tensors, rows, self.batch_size, seed=self.seed, **options)

    def _rows(self, part: str, split: Split, table: FilmTable) -> npt.NDArray[np.int64]:
        rows: npt.NDArray[np.int64] = getattr(split, part)
        if not len(rows):
            other = "--data.given_split false" if self.given_split and table.split else "another --data.test_fraction"
            raise FilmDataError(f"There are no {part} films ({split}). Give more films, or {other}.")
        return rows

    def encode(
        self,
        posters: Sequence[Poster] | None = None,
        overviews: Sequence[str] | None = None,
    ) -> dict[str, npt.NDArray[Any]]:
        """A batch of films that are not in the table, after `load_state_dict` or `setup`.

        Args:
            posters: n picture files, Pillow images or uint8 (h, w, 3) arrays; not used if no posters are read.
            overviews: n texts, likewise. With ``incomplete="keep"`` a missing input is black or has no words.

        Returns:
            ``poster`` uint8 (n, H, W, 3), ``overview`` int32 (n, T), ``genres`` float32 (n, G) zeros,
            ``index`` and ``weight`` as in any batch.

        Raises:
            FilmDataError: nothing is given, or a poster or overview is bad or empty.

        Example:
            >>> films = FilmData("films", overviews=False)
            >>> films.setup("fit")
            >>> films.encode(posters=["posters/tt0084058.jpg"])["poster"].shape
            (1, 64, 64, 3)
        """
        reads = {"poster": self.posters, "overview": self.overviews}
        films = encode_given(posters, overviews, reads, self._may_lack, self.image_size, self.resize, self._vectorizer)
        n = len(next(iter(films.values())))
        return films | {
            "genres": np.zeros((n, len(self.genre_names)), np.float32),
            "index": np.arange(n, dtype=np.int32),
            "weight": np.ones(n, np.float32),
        }

    # ---------- what is kept with a run

    @property
    def results_name(self) -> str:
        """The name of the films' folder (or folder and table) if they are not the checkpoint's run's own; else ""."""
        if not self._kept or self._are_own(self._in_use.stage):
            return ""
        path = Path(self.results_source)
        return path.name if path.is_dir() else f"{path.parent.name}_{path.stem}"

    @property
    def results_source(self) -> str:
        """The absolute path of the films."""
        return str(Path(os.path.expanduser(self._folder())).resolve())

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, as JSON values: genres, vocabulary, sizes and the split's film ids."""
        kept = self._films_to_keep()
        return {} if kept is None else kept.to_json()

    def _films_to_keep(self) -> KeptFilms | None:
        kept, films = self._kept, self._films
        if films is None:
            return kept
        # The checkpoint's split is kept as it is, including films that are missing now.
        split, marks = (kept.split, kept.marks) if kept else (None, "")
        arguments = {name: getattr(self, name) for name in _OF_ARGUMENTS}
        if films.whole_split and split is None:
            split = films.whole_split.to_json()
            marks = "".join(films.all_films.marks[films.whole_split.rows])
        return KeptFilms(
            **{name: getattr(self, name) for name in _OF_FILMS},
            genre_names=self.genre_names,
            vocabulary=self.vocabulary,
            sequence_length=self._vectorizer.sequence_length if self._vectorizer else None,
            split=split,
            marks=marks,
            arguments=arguments if kept is None or self._are_own(films.stage) else kept.arguments,
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a checkpoint's genres, vocabulary, sizes and split; `setup` then determines none of them."""
        if not state:
            return
        is_unchanged = state == self.state_dict()
        if self.trainer is None or self.trainer.state.status != "running":
            self._before_stage = None
        elif not is_unchanged and self._before_stage is None:
            self._before_stage = self._kept, {name: getattr(self, name) for name in (*_OF_FILMS, *_OF_ARGUMENTS)}
        self._kept = kept = KeptFilms.from_json(state)
        if is_unchanged:
            return
        of_films = {name: getattr(kept, name) for name in _OF_FILMS}
        self._restore_arguments(of_films | kept.arguments, (*_OF_FILMS, *_OF_VOCABULARY))
        self._films = None

    def _undo_stage(self) -> None:
        """Return to what held before a stage loaded a checkpoint."""
        if self._before_stage is not None:
            self._kept, arguments = self._before_stage
            for name in (name for name, value in arguments.items() if getattr(self, name) != value):
                self._set_argument(name, arguments[name])
            self._films = self._before_stage = None

    def _restore_arguments(self, arguments: dict[str, Any], names: Sequence[str]) -> None:
        """Replace given arguments with the checkpoint's, and log which."""
        given = {name: getattr(self, name) for name in names if name in arguments}
        replaced = [name for name in given if given[name] != arguments[name]]
        for name in replaced:
            self._set_argument(name, arguments[name])
        if replaced:
            said = (f"{name}={arguments[name]!r} (given: {given[name]!r})" for name in replaced)
            _log.warning("The checkpoint's settings replace the given ones: %s.", ", ".join(said))

    def _set_argument(self, name: str, value: Any) -> None:
        setattr(self, name, value)
        setattr(self.hparams, name, value)

    def save_artifacts(self, directory: str | os.PathLike[str]) -> None:
        """Write ``split.json``, ``genres.txt``, ``vocabulary.txt`` and, if films were left out, ``left_out.csv``."""
        kept = self._films_to_keep()
        if kept is None:
            raise NotReadError("FilmData has read no films yet: call setup('fit') first.")
        kept.write(directory, self.left_out if self._films else ())
