"""Choosing the split of a run: the checkpoint's, the one that comes with the films, or a newly drawn one."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kgenre.data.errors import FilmDataError
from kgenre.data.film_marks import UNKNOWN
from kgenre.data.film_table import FilmTable
from kgenre.data.kept_films import KeptFilms
from kgenre.data.packed_columns import ExaminedPosters
from kgenre.data.split import EVALUATED, PARTS, Split, group_near_duplicates, split_films

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
    stage: str,
) -> Split:
    """Return a split of all films as read, before any is left out.

    Args:
        films: all films as read.
        poster_files: what `examine_posters` returned for their posters.
        kept: what a checkpoint keeps of its run's films; its split is used if ``films`` are its own.
        take_given: use the split that comes with the films, if there is one.
        fractions: shares of the films for validation and test, if a split is drawn.
        seed: the seed to draw a split with.
        stage: what the split is for. If the films are not the run's own, those that it was trained on are never test
            films, and "test" without a given split tests all others; "validate" leaves them out if others remain.

    Raises:
        FilmDataError: see `KeptFilms.split_over` and `split_films`; or the model was trained on all films to test.
    """
    given = take_given and bool(films.split)
    if kept is None or kept.split is None:
        if given:
            _log.info("Using the split that comes with the films (--data.given_split).")
        return _new_split(films, poster_files, given, fractions, seed)
    if own := kept.own_split(films, stage):
        _log_changes(own, kept, stage)
        return own
    seen = kept.seen_in_training(films)
    if stage == "test" and not given:
        everything = np.arange(len(films))
        split = Split(everything[:0], everything[:0], everything, films.ids, seed=seed)
    else:
        split = _new_split(films, poster_files, given, fractions, seed)
    _log_others(films, kept, split, given, seen, stage)
    if stage == "validate" and not seen[split.validation].all():
        split = replace(split, validation=split.validation[~seen[split.validation]])
    return replace(split, test=split.test[~seen[split.test]])


def _new_split(
    films: FilmTable, poster_files: ExaminedPosters, given: bool, fractions: tuple[float, float], seed: int
) -> Split:
    if not given:
        return split_films(films, *fractions, seed, poster_files)
    state = {"seed": seed, "grouped": 0, **dict.fromkeys(PARTS, ()), **(films.split or {})}
    split = Split.from_json(state, films.ids)
    _warn_about_leaks(split, group_near_duplicates(films, poster_files))
    return split


def _log_others(
    films: FilmTable, kept: KeptFilms, split: Split, given: bool, seen: npt.NDArray[np.bool_], stage: str
) -> None:
    """Log how films that are not the run's own are used.

    Raises:
        FilmDataError: the model was trained on all films to test.
    """
    assert kept.split is not None
    start, ids = f"None of these {len(films):,} films is in the checkpoint's split", ", under different ids"
    if (over := kept.split_over(films)) and any(over.sizes):
        part = EVALUATED[stage]  # a fit with some of the run's films has its split
        of_run = f"{len(getattr(over, part)):,} of the {len(kept.split[part]):,} {part} films of the checkpoint's run"
        start, ids = f"These {len(films):,} films include only {of_run}", ""
    if stage == "test" and len(split.test) and seen[split.test].all():
        which = f"the {len(split.test):,} test films among these" if given else f"these {len(films):,} films"
        raise FilmDataError(
            f"The model was trained on all of {which}{ids}. Give films that it was not trained on, or the original "
            "table."
        )
    how = "the split that comes with them is used (--data.given_split)" if given else "a new split is drawn"
    then = f" The model was trained on {seen.sum():,} of them{ids}: these are not tested." if seen.any() else ""
    if stage == "validate":
        validated = seen[split.validation]
        which = f"{validated.sum():,} of the {len(validated):,} validation films{ids}"
        so = "the results look better than they are" if validated.all() else "these are left out"
        then = f" The model was trained on {which}: {so}." if validated.any() else ""
    elif stage == "test" and not given:
        but = f" except {seen.sum():,} that it was trained on{ids}" if seen.any() else ""
        how = f"the model is tested on all of them{but}"
        then = " There are no baselines to compare it with, as there are no films to fit them on."
    if nameless := np.count_nonzero(films.marks == UNKNOWN):
        then += (
            f" {nameless:,} of them have neither title nor overview: films that the model was trained on are "
            "recognised among these by their ids only."
        )
    _log.warning("%s: %s.%s", start, how, then)


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


def _log_changes(split: Split, kept: KeptFilms, stage: str) -> None:
    ids_of = {part: kept.split[part] if kept.split else [] for part in PARTS}
    new = len(split.ids) - sum(split.sizes)
    gone = {part: len(ids_of[part]) - len(getattr(split, part)) for part in PARTS}
    if new or sum(gone.values()):
        part = EVALUATED.get(stage, "test")
        of_part = f", {gone[part]:,} of them {part} films" if gone[part] else ""
        _log.warning(
            "The run keeps its split. Films in no part of it, not used: %s; films that are missing: %s%s.",
            f"{new:,}",
            f"{sum(gone.values()):,}",
            of_part,
        )
    here = {split.ids[row] for row in split.train}
    if [film_id for film_id in ids_of["train"] if film_id in here] != [split.ids[row] for row in split.train]:
        _log.warning(
            "The films are in a different order than when the run began: training that is resumed draws different "
            "batches than it would have."
        )
