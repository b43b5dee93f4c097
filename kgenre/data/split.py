"""Splitting films into training, validation and test: seeded, stratified by genre, near-duplicates kept together."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kgenre.data.errors import FilmDataError
from kgenre.data.film_table import FilmTable
from kgenre.data.overviews import normalised_overview
from kgenre.data.packed_columns import ExaminedPosters, PackedTexts
from kgenre.data.placeholder_posters import placeholder_posters
from kgenre.data.poster_examination import examine_posters
from kgenre.data.stratification import iterative_stratification

PARTS = ("train", "validation", "test")
EVALUATED = {"validate": "validation", "test": "test"}  # the part that each of these stages evaluates
MIN_FILMS = 10
_LEAST_OF_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Split:
    """The rows of a table to train, validate and test on.

    Args:
        train: rows, ascending, int64; likewise ``validation`` and ``test``.
        ids: the ids of all films of the table.
        grouped: the number of films that share a poster, an overview or title and year with another film, and are in
            the same part; counted when the split is drawn, before films are left out.
        seed: the seed that the split was drawn with.
    """

    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]
    ids: PackedTexts
    grouped: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", PackedTexts.of(self.ids))

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The numbers of films for training, validation and test."""
        return len(self.train), len(self.validation), len(self.test)

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """The rows of all parts, concatenated."""
        return np.concatenate([getattr(self, part) for part in PARTS])

    def to_json(self) -> dict[str, Any]:
        """Return the film ids of each part, as JSON values."""
        parts = {name: [self.ids[i] for i in getattr(self, name)] for name in PARTS}
        return {"seed": self.seed, "grouped": self.grouped, **parts}

    @classmethod
    def from_json(cls, state: dict[str, Any], ids: Sequence[str]) -> Split:
        """Apply the split of ``state`` to films with these ids; ids that are only in one of the two are in no part."""
        row_of = {film_id: row for row, film_id in enumerate(ids)}
        parts = {n: np.array(sorted(row_of[i] for i in state[n] if i in row_of), np.int64) for n in PARTS}
        return cls(**parts, ids=PackedTexts.of(ids), grouped=state["grouped"], seed=state["seed"])

    def restrict(self, rows: npt.NDArray[np.integer]) -> Split:
        """Return the same split over ``table.subset(rows)``."""
        if np.array_equal(rows, np.arange(len(self.ids))):
            return self
        new_row = np.full(len(self.ids), -1, np.int64)
        new_row[rows] = np.arange(len(rows))
        parts = {name: new_row[getattr(self, name)] for name in PARTS}
        parts = {name: np.sort(part[part >= 0]) for name, part in parts.items()}
        return Split(**parts, ids=self.ids.take(rows), grouped=self.grouped, seed=self.seed)

    def __str__(self) -> str:
        sizes = f"{len(self.train):,} training, {len(self.validation):,} validation, {len(self.test):,} test films"
        near = f"{self.grouped:,} near-duplicates among all films read, kept in the same part"
        return f"{sizes}; {near}" if self.grouped else sizes


def split_films(
    table: FilmTable,
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
    seed: int = 0,
    poster_files: ExaminedPosters | None = None,
) -> Split:
    """Split films so that each genre has nearly the same share in all parts, with near-duplicates in the same part.

    Films with the same poster (byte for byte, except `placeholder_posters`), the same overview (ignoring case and
    punctuation) or the same title and year form a group; groups are stratified by their genres
    (`iterative_stratification`). A group with more films than the smallest part should have goes to training.

    Args:
        table: the films.
        val_fraction: share of the films for validation, 0 for none.
        test_fraction: share of the films for testing, 0 for none.
        seed: the same films, fractions and seed give the same split, whatever the order of the films.
        poster_files: what `examine_posters` returned, if it was called already.

    Raises:
        FilmDataError: a fraction is negative, less than a tenth is left for training, or there are fewer than 10 films
            or fewer groups than parts.

    Example:
        >>> split = split_films(read_films("films"), val_fraction=0.1, test_fraction=0.2, seed=0)
        >>> len(split.train), len(split.validation), len(split.test)
        (81, 13, 26)
    """
    check_fractions(val_fraction, test_fraction)
    if len(table) < MIN_FILMS:
        raise FilmDataError(f"{len(table)} films are too few to train, validate and test on. Give {MIN_FILMS} or more.")
    group_of = _in_order_of_ids(group_near_duplicates(table, poster_files), table.ids)
    groups, sizes = np.unique(group_of, return_counts=True)
    parts = sum(fraction > 0 for fraction in (val_fraction, test_fraction)) + 1
    if len(groups) < parts:
        raise FilmDataError(
            f"Films that share a poster, an overview, or title and year stay together, so {len(table):,} films form "
            f"only {len(groups)} group{'s' * (len(groups) > 1)}: too few for {parts} parts. "
            "kgenre data inspect FOLDER shows what they share."
        )
    genres = np.zeros((len(groups), len(table.genre_names)), bool)
    np.logical_or.at(genres, group_of, table.genres.astype(bool))
    fractions = np.array([1 - val_fraction - test_fraction, val_fraction, test_fraction])
    part_of_group = np.zeros(len(groups), np.int64)
    # Stratification counts groups, not their films: one large group could make up most of a small part.
    large = sizes > max(fractions[fractions > 0].min() * len(table), 1)
    if large.any():
        fractions = fractions * len(table) - [sizes[large].sum(), 0, 0]
        fractions = fractions.clip(0) / fractions.clip(0).sum()
    part_of_group[~large] = _stratify_with_fallback(genres[~large], fractions, seed)
    _fill_empty_parts(part_of_group, genres, sizes, fractions)
    part_of = part_of_group[group_of]
    grouped = int(sizes[sizes > 1].sum())
    train, validation, test = (np.flatnonzero(part_of == part) for part in range(len(PARTS)))
    return Split(train, validation, test, table.ids, grouped, seed)


def check_fractions(val_fraction: float, test_fraction: float) -> None:
    """Raise `FilmDataError` unless both are shares and leave a tenth of the films for training."""
    for name, fraction in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not (isinstance(fraction, int | float | np.floating) and 0 <= fraction < 1):
            raise FilmDataError(f"{name}={fraction!r} must be a share of the films, from 0 to below 1, such as 0.1.")
    if val_fraction + test_fraction > 0.9:
        raise FilmDataError(
            f"val_fraction={val_fraction:g} and test_fraction={test_fraction:g} leave less than a tenth "
            "of the films for training. Set smaller ones, such as 0.1 and 0.2."
        )


def _in_order_of_ids(group_of: npt.NDArray[np.int64], ids: Sequence[str]) -> npt.NDArray[np.int64]:
    """Renumber the groups in the order of ids, f2 before f10: a split must not depend on the order of the rows."""
    names = [(re.sub("[0-9]+", lambda number: number[0].zfill(30), film_id), film_id) for film_id in ids]
    rows = sorted(range(len(names)), key=names.__getitem__)
    _, first, group = np.unique(group_of[rows], return_index=True, return_inverse=True)
    renumbered = np.empty_like(group_of)
    renumbered[rows] = first.argsort().argsort()[group]
    return renumbered


def group_near_duplicates(table: FilmTable, poster_files: ExaminedPosters | None) -> npt.NDArray[np.int64]:
    """Return the group of each film, int64 (n,), numbered from 0; most films are alone in theirs."""
    if poster_files is None:
        poster_files = examine_posters(table.poster_paths, table.root)
    pairs = np.concatenate([_pairs(keys) for keys in duplicate_keys(table, poster_files).values()], axis=1)
    return connected(pairs, len(table))


def connected(pairs: npt.NDArray[np.intp], count: int) -> npt.NDArray[np.int64]:
    """Return the group of each of ``count`` rows, int64, from 0: those that ``pairs`` (2, any number) connect."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    shared = coo_array((np.ones(pairs.shape[1], np.int8), pairs), shape=(count, count))
    return connected_components(shared, directed=False)[1].astype(np.int64)


def duplicate_keys(table: FilmTable, files: ExaminedPosters) -> dict[str, npt.NDArray[np.bytes_]]:
    """Return, for each kind of near-duplicate, a key for each film that its duplicates share; b"" for none."""
    overviews = map(_digest, map(normalised_overview, table.overviews))
    named = zip(table.titles, table.years, strict=True)
    posters = files.sha256.copy()
    for rows in placeholder_posters(table, files):
        posters[rows] = b""
    titles = map(_digest, (f"{title.casefold()}\0{year}" if title and year else "" for title, year in named))
    return {
        "identical_posters": posters,
        "identical_overviews": np.fromiter(overviews, "S16", len(table)),
        "same_title_and_year": np.fromiter(titles, "S16", len(table)),
    }


def _digest(text: str) -> bytes:
    """Return a hash of 16 bytes, which needs less memory than the text; b"" for ""."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() if text else b""


def _pairs(keys: npt.NDArray[np.bytes_]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the rows whose key an earlier row has, and for each the last such earlier row."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    again = np.flatnonzero((ordered[1:] == ordered[:-1]) & (ordered[1:] != b"")) + 1
    return order[again], order[again - 1]


def _stratify_with_fallback(
    genres: npt.NDArray[np.bool_], fractions: npt.NDArray[np.float64], seed: int
) -> npt.NDArray[np.int64]:
    """Like `_stratify`, but ignoring rare genres as needed until each part has at least half of its share."""
    # Films with a genre of their own all go to the largest part, and if genres are free tags every film may have one.
    for least in (1, len(PARTS), MIN_FILMS, len(genres) + 1):
        part_of = _stratify(genres[:, genres.sum(axis=0) >= least], fractions, seed)
        if (np.bincount(part_of, minlength=len(PARTS)) >= _LEAST_OF_SHARE * fractions * len(genres)).all():
            break
    return part_of


def _stratify(genres: npt.NDArray[np.bool_], fractions: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.int64]:
    # Films of a genre are assigned in the order of the rows, which the permutation makes depend on the seed.
    # A seed of more than 32 bits, such as a date and time, is passed as several numbers.
    random_state = np.random.RandomState(seed if seed < 2**32 else np.random.SeedSequence(seed).generate_state(4))
    order = random_state.permutation(len(genres))
    parts = np.empty(len(genres), np.int64)
    used = fractions > 0
    parts[order] = np.flatnonzero(used)[iterative_stratification(genres[order], fractions[used], random_state)]
    return parts


def _fill_empty_parts(
    part_of_group: npt.NDArray[np.int64],
    genres: npt.NDArray[np.bool_],
    sizes: npt.NDArray[np.int64],
    fractions: npt.NDArray[np.float64],
) -> None:
    # Films with a rare genre go to the largest part first, so with few films a small part may get none.
    for part in np.flatnonzero(fractions > 0):
        if not (part_of_group == part).any():
            films = np.bincount(part_of_group, weights=sizes, minlength=len(PARTS))
            several = np.bincount(part_of_group, minlength=len(PARTS)) > 1  # do not empty another part
            movable = np.flatnonzero(part_of_group == np.where(several, films, 0).argmax())
            rarest = np.where(genres[movable], genres[movable].sum(axis=0), len(genres)).min(axis=1)
            part_of_group[movable[np.lexsort((sizes[movable], -rarest))[0]]] = part
