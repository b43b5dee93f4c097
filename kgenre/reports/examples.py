"""Example films for notebooks: posters next to the predictions of one or more runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from kgenre.reports.blocks import Film, label
from kgenre.reports.example_films import choose_films, example_films
from kgenre.reports.html import films_to_html
from kgenre.reports.numbers import Numbers
from kgenre.reports.read_runs import read_runs
from kgenre.reports.tested_checkpoint import untested_bests


class Examples(tuple[Film, ...]):
    """Example films: shown with posters as the last expression of a notebook cell, printed as text elsewhere."""

    def _repr_html_(self) -> str:
        return films_to_html(self)

    def __repr__(self) -> str:
        return "\n".join(map(_text, self))


def examples(
    runs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    n: int = 3,
    by: str = "random",
    seed: int = 0,
    ids: Sequence[str] = (),
    top: int = 3,
    explain: bool = False,
    data_path: str | None = None,
) -> Examples:
    """Return test films with the predictions of one or more tested runs.

    Args:
        runs: folder of a tested run, such as ``trainer.run_dir``, or several.
        n: number of films.
        by: "random", "best", "worst" or "disagreed"; see `choose_films`.
        seed: for "random".
        ids: films to show instead.
        top: number of genres to show for each run.
        explain: mark the parts of the poster and the words that speak for the first genre; loads the models.
        data_path: where the films are, if they have moved.

    Raises:
        ReportError: a folder is not a tested run, the runs cannot be compared, an unknown film or ``by``.

    Example:
        >>> examples(trainer.run_dir, by="worst", explain=True)
    """
    read = read_runs(runs, data_path)
    untested_bests(read, Numbers())
    chosen = choose_films(read, n, by, seed, ids)
    return Examples(example_films(read, [(film_id, "") for film_id in chosen], top, explain))


def _text(film: Film) -> str:
    lines = [f"{film.full_name}: {', '.join(film.truth) or 'no genre'}"]
    for guess in film.guesses:
        lines.append(f"  {guess.run}: {', '.join(label(*genre) for genre in guess.genres)}")
    return "\n".join(lines)
