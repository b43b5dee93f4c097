"""The predictions for films as a table, one row per film."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kgenre.checkpoints.files import whole_file
from kgenre.evaluation.thresholds import Thresholds
from kgenre.quoted_path import quoted_path
from kgenre.users_code import ShortTraceback

if TYPE_CHECKING:
    from kgenre.data.film_table import FilmTable

COLUMNS = ("id", "title", "genres", "predicted")


class PredictionsError(ShortTraceback, ValueError):
    """A file of predictions is missing, damaged or another kind of table; the message names it."""


@dataclass(frozen=True, eq=False)
class FilmPredictions:
    """The predictions of n films, as returned by `read_predictions`.

    Args:
        ids: the films' ids.
        titles: "" where unknown.
        true: (n, G) bool.
        prob: (n, G) float64.
        genre_names: the G names.
    """

    ids: tuple[str, ...]
    titles: tuple[str, ...]
    true: npt.NDArray[np.bool_]
    prob: npt.NDArray[np.float64]
    genre_names: tuple[str, ...]

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each film by its id."""
        return {film_id: row for row, film_id in enumerate(self.ids)}

    def shared_with(self, other: FilmPredictions) -> tuple[list[int], list[int]]:
        """Return the rows of the films that both have, in the order of this one: its own, and the other's."""
        shared = [film_id for film_id in self.ids if film_id in other.row_of]
        return [self.row_of[film_id] for film_id in shared], [other.row_of[film_id] for film_id in shared]


def predicted_genres(prob: np.ndarray, thresholds: Thresholds | None) -> npt.NDArray[np.bool_]:
    """Return which genres (n, G) count as predicted: above their threshold, or above 0.5 if there are no thresholds."""
    return prob > (0.5 if thresholds is None else np.array(thresholds.per_genre))


def top_genres(prob: np.ndarray, count: int) -> npt.NDArray[np.intp]:
    """Return the columns of the ``count`` most probable genres (n, count), best first; ties go to the first column."""
    return np.argsort(-prob, axis=1, kind="stable")[:, :count]


def write_predictions(
    path: Path, films: FilmTable, prob: np.ndarray, thresholds: Thresholds | None, top: int = 3
) -> None:
    """Write a row for each film.

    The columns are ``id``, ``title``, ``genres`` (the true ones, joined by "|"), ``predicted`` (those above their
    threshold, joined likewise), ``top3`` (the most probable, best first; ``top<n>``) and then one for each genre with
    its probability, with the nine digits that distinguish all float32 values, so that what is above a threshold stays
    above it. UTF-8, with a byte-order mark if genre names are not all ASCII.

    Args:
        path: the file; replaced only when the new one is complete.
        films: n films.
        prob: (n, G), columns as ``films.genre_names``.
        thresholds: of the model; None: 0.5.
        top: number of most probable genres to name.
    """
    names = films.genre_names
    predicted, best = predicted_genres(prob, thresholds), top_genres(prob, top)
    # Without the mark, spreadsheets decode such names in a legacy encoding.
    encoding = "utf-8" if all(map(str.isascii, names)) else "utf-8-sig"
    with whole_file(path) as partial, partial.open("w", newline="", encoding=encoding) as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, f"top{top}", *names])
        for row, values in enumerate(prob):
            chosen = "|".join(name for name, has in zip(names, predicted[row], strict=True) if has)
            first = "|".join(names[i] for i in best[row])
            true = "|".join(films.genres_of(row))
            writer.writerow([films.ids[row], films.titles[row], true, chosen, first, *(f"{v:.9g}" for v in values)])


def read_predictions(path: Path) -> FilmPredictions:
    """Read what `write_predictions` wrote.

    Raises:
        PredictionsError: the file is missing or is not such a table.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = list(csv.reader(file))
        if tuple(header[:4]) != COLUMNS or not rows or any(len(row) != len(header) for row in rows):
            raise ValueError("not a table of predictions")
        names = tuple(header[5:])
        prob = np.array([row[5:] for row in rows], np.float64).reshape(len(rows), len(names))
    except FileNotFoundError:
        raise PredictionsError(
            f"{path} does not exist: kgenre test --ckpt_path {quoted_path(path.parent)} writes it."
        ) from None
    except (ValueError, OSError, csv.Error) as error:
        raise PredictionsError(
            f"{path} cannot be read ({error}): kgenre test --ckpt_path {quoted_path(path.parent)} writes it again."
        ) from error

    true = np.array([[name in has for name in names] for has in (row[2].split("|") for row in rows)])
    return FilmPredictions(tuple(row[0] for row in rows), tuple(row[1] for row in rows), true, prob, names)
