"""Which split a run takes: that of its checkpoint, the one its films come with, or one that is drawn."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kgenre.data.errors import FilmDataError
from kgenre.data.examined_posters import ExaminedPosters
from kgenre.data.film_table import FilmTable
from kgenre.data.split import PARTS, Split, group_near_duplicates, split_films

if TYPE_CHECKING:
    from kgenre.training import Trainer

_log = logging.getLogger("kgenre")


def choose_split(
    films: FilmTable,
    poster_files: ExaminedPosters,
    kept: dict[str, Any] | None,
    take_given: bool,
    fractions: tuple[float, float],
    seed: int,
    to_test: bool = False,
) -> Split:
    """A split of all films as read, before any is left out.

    Args:
        films: as read.
        poster_files: what `examine_posters` found about their posters.
        kept: a checkpoint's, as of `Split.to_json`; taken if any of its films is there.
        take_given: take the split that the films come with, where there is one.
        fractions: of films for validation and test, where one is drawn.
        seed: of the drawn one.
        to_test: the films are there to test a model on: where ``kept`` has none of them, and they come without a split,
            they are all test films.
    """
    if kept:
        split = Split.from_json(kept, films.ids)
        if sum(split.sizes):
            _log_changes(split, kept)
            return split
        if to_test and not (take_given and films.split):
            _log.warning(
                "None of these %d films is in the checkpoint's split: all are tested. There are no baselines beside "
                "the model, as there are no films to fit them on.",
                len(films),
            )
            every, none = np.arange(len(films)), np.array([], np.int64)
            return Split(none, none, every, films.ids, seed=seed)
        _log.warning("None of these %d films is in the checkpoint's split: they are split anew.", len(films))
    if take_given and films.split:
        _log.info("The split is the one that the films come with (--data.given_split).")
        state = {"seed": seed, "grouped": 0, **dict.fromkeys(PARTS, ()), **films.split}
        split = Split.from_json(state, films.ids)
        _say_what_leaks(split, group_near_duplicates(films, poster_files))
        return split
    return split_films(films, *fractions, seed, poster_files)


def _say_what_leaks(split: Split, group_of: npt.NDArray[np.int64]) -> None:
    rows = np.concatenate([getattr(split, part) for part in PARTS])
    part_of = np.repeat(range(len(PARTS)), split.sizes)
    groups, parts = np.unique(np.unique([group_of[rows], part_of], axis=1)[0], return_counts=True)
    leaking = np.isin(group_of[rows], groups[parts > 1]).sum()
    if leaking:
        _log.warning(
            "%d films share a poster, an overview or title and year with one of another part of this split: results "
            "look better than they are. kgenre data inspect names them.",
            leaking,
        )


def refuse_other_films(run: Trainer, stage: str, films: int) -> None:
    """Refuse films of which the checkpoint's run knows none, unless they are there to test a run that was named.

    Raises:
        FilmDataError: a training would go on with them, or a run be tested that was only found by its name.
    """
    if run.ckpt_path is None or run.state.status != "running":
        return
    none = f"None of these {films:,} films is in the split of {run.ckpt_path}"
    if stage == "fit":
        raise FilmDataError(
            f"{none}, so its training cannot go on with them. Give the films that it began with (--data.path), "
            "another run (--ckpt_path RUN), or leave --ckpt_path out to train anew."
        )
    if run.found_by_name:
        raise FilmDataError(
            f"{none}, of the newest run with this name. Give the run that is meant: --ckpt_path RUN. That may be "
            "this one too, to see what it makes of other films."
        )


def _log_changes(split: Split, kept: dict[str, Any]) -> None:
    new = len(split.ids) - sum(split.sizes)
    gone = sum(len(kept[part]) for part in PARTS) - sum(split.sizes)
    if new or gone:
        _log.warning("The checkpoint's split is kept. Films in no part of it: %d; not in the data: %d.", new, gone)
