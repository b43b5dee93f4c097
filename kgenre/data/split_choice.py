"""Choosing the split of a run: the checkpoint's, the one that comes with the films, or a newly drawn one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kgenre.data.errors import FilmDataError
from kgenre.data.film_table import FilmTable
from kgenre.data.kept_films import KeptFilms
from kgenre.data.packed_columns import ExaminedPosters
from kgenre.data.split import PARTS, Split, group_near_duplicates, split_films

if TYPE_CHECKING:
    from kgenre.training import Trainer

_log = logging.getLogger("kgenre")


def choose_split(
    films: FilmTable,
    poster_files: ExaminedPosters,
    kept: KeptFilms | None,
    take_given: bool,
    fractions: tuple[float, float],
    seed: int,
    to_test: bool,
) -> Split:
    """Return a split of all films as read, before any is left out.

    Args:
        films: all films as read.
        poster_files: what `examine_posters` returned for their posters.
        kept: what a checkpoint keeps of its run's films; its split is used if it has any of ``films``.
        take_given: use the split that comes with the films, if there is one.
        fractions: shares of the films for validation and test, if a split is drawn.
        seed: the seed to draw a split with.
        to_test: the films are meant to test a model: if the run's split has none of them, and no given split is used,
            all are test films except those that the model was trained on under other ids.

    Raises:
        FilmDataError: see `KeptFilms.split_over` and `split_films`; or the model was trained on all of the films to
            test, under other ids.
    """
    if kept and (split := kept.split_over(films)):
        if sum(split.sizes):
            _log_changes(split, kept)
            return split
        seen = kept.seen_in_training(films)
        if to_test and not (take_given and films.split):
            return _all_but(seen, films, seed)
        _log.warning(
            "None of these %s films is in the checkpoint's split: a new split is drawn.%s",
            f"{len(films):,}",
            f" The model was trained on {seen.sum():,} of them, under different ids." if seen.any() else "",
        )
    if take_given and films.split:
        _log.info("Using the split that comes with the films (--data.given_split).")
        state = {"seed": seed, "grouped": 0, **dict.fromkeys(PARTS, ()), **films.split}
        split = Split.from_json(state, films.ids)
        _warn_about_leaks(split, group_near_duplicates(films, poster_files))
        return split
    return split_films(films, *fractions, seed, poster_files)


def _all_but(seen: npt.NDArray[np.bool_], films: FilmTable, seed: int) -> Split:
    if seen.all():
        raise FilmDataError(
            f"The model was trained on all of these {len(films):,} films, under different ids. Give films that it was "
            "not trained on, or the original table."
        )
    but = f" except {seen.sum():,} that it was trained on, under different ids" if seen.any() else ""
    _log.warning(
        "None of these %s films is in the checkpoint's split: the model is tested on all of them%s. There are no "
        "baselines to compare it with, as there are no films to fit them on.",
        f"{len(films):,}",
        but,
    )
    none = np.array([], np.int64)
    return Split(none, none, np.flatnonzero(~seen), films.ids, seed=seed)


def _warn_about_leaks(split: Split, group_of: npt.NDArray[np.int64]) -> None:
    part_of = np.repeat(range(len(PARTS)), split.sizes)
    groups, parts = np.unique(np.unique([group_of[split.rows], part_of], axis=1)[0], return_counts=True)
    leaking = np.isin(group_of[split.rows], groups[parts > 1]).sum()
    if leaking:
        _log.warning(
            "%s films share a poster, an overview, or title and year with a film in another part of this split, so "
            "results look better than they are. kgenre data inspect lists them.",
            f"{leaking:,}",
        )


def refuse_other_films(trainer: Trainer | None, kept: KeptFilms | None, stage: str, films: FilmTable) -> None:
    """Refuse films if the checkpoint's run knows none of them, unless they are to test an explicitly given run.

    Raises:
        FilmDataError: training would resume with them, or the run to test was only found by its name.
    """
    if trainer is None or trainer.ckpt_path is None or trainer.state.status != "running":
        return
    if not (kept and kept.has_none_of(films)):
        return
    none = f"None of these {len(films):,} films is in the split of {trainer.ckpt_path}"
    if stage == "fit":
        raise FilmDataError(
            f"{none}, so its training cannot be resumed with them. Give the films that it was started with "
            "(--data.path) or another run (--ckpt_path RUN), or leave out --ckpt_path to train from scratch."
        )
    if trainer.found_by_name:
        raise FilmDataError(
            f"{none}, the newest run with this name. Give the intended run with --ckpt_path RUN; it may be this one, "
            "to test it on different films."
        )


def _log_changes(split: Split, kept: KeptFilms) -> None:
    ids_of = {part: kept.split[part] if kept.split else [] for part in PARTS}
    new = len(split.ids) - sum(split.sizes)
    gone = sum(map(len, ids_of.values())) - sum(split.sizes)
    if new or gone:
        counts = f"{new:,}", f"{gone:,}"
        _log.warning(
            "The run keeps its split. Films in no part of it, not used: %s; films that are missing: %s.", *counts
        )
    here = {split.ids[row] for row in split.train}
    if [film_id for film_id in ids_of["train"] if film_id in here] != [split.ids[row] for row in split.train]:
        _log.warning(
            "The films are in a different order than when the run began: training that is resumed draws different "
            "batches than it would have."
        )
