"""Example films of the test set: how they are chosen, their posters and overviews, and explained predictions."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kgenre.data.overview_text import shortened
from kgenre.evaluation.film_predictions import top_genres
from kgenre.evaluation.metrics import binary_crossentropy
from kgenre.reports.blocks import Film, Guess
from kgenre.reports.heat_map import draw_heat
from kgenre.reports.run import ReportError, Run
from kgenre.reports.tested_checkpoint import checkpoint_of_test

if TYPE_CHECKING:
    from PIL import Image

    from kgenre.data.film_table import FilmTable
    from kgenre.data.text_words import TextWords

_log = logging.getLogger("kgenre")

# The poster with a heat map, as a JPEG, and the overview's words with their importance; None if not available.
Explanation = tuple[bytes | None, tuple[tuple[str, float], ...] | None]
_POSTER = (200, 300)  # maximum width and height, in pixels


def choose_films(
    runs: Sequence[Run], n: int, kind: str = "random", seed: int = 0, ids: Sequence[str] = ()
) -> list[str]:
    """Choose test films that all runs have, and return their ids.

    Args:
        runs: one or more.
        n: number of films.
        kind: "random"; "best" or "worst" by the mean loss over runs; "disagreed": where the runs' probabilities
            differ most (with one run: where it is least certain).
        seed: for "random".
        ids: films to return instead.

    Raises:
        ReportError: an unknown film or kind.
    """
    common = [film_id for film_id in runs[0].predictions.ids if all(film_id in run.predictions.row_of for run in runs)]
    if ids:
        unknown = [film_id for film_id in ids if film_id not in common]
        if unknown:
            trained = any(unknown[0] in run.split.get(part, ()) for run in runs for part in ("train", "validation"))
            why = ": it was used for training or validation" if trained else ""
            raise ReportError(
                f"{unknown[0]} is not a test film of these runs{why}. They have {len(common):,}, such as --ids "
                f"{','.join(common[:3])}"
            )
        return list(ids)
    if kind == "random":
        chosen = np.random.default_rng(seed).permutation(len(common))[:n]
        return [common[i] for i in chosen]
    rows = [[run.predictions.row_of[film_id] for film_id in common] for run in runs]
    prob = np.stack([run.predictions.prob[row] for run, row in zip(runs, rows, strict=True)])  # (runs, films, G)
    true = runs[0].predictions.true[rows[0]]
    loss = np.mean([binary_crossentropy(true, p).mean(axis=1) for p in prob], axis=0)
    spread = prob.std(axis=0).sum(axis=1) if len(runs) > 1 else (prob[0] * (1 - prob[0])).sum(axis=1)
    scores = {"best": loss, "worst": -loss, "disagreed": -spread}
    if kind not in scores:
        raise ReportError(f"Films can be chosen by {', '.join(['random', *scores])}. Received: {kind!r}")
    # Films without genres come last: they are easy to predict and show nothing.
    order = np.lexsort((scores[kind], ~true.any(axis=1)))
    return [common[i] for i in order[:n]]


def example_films(
    runs: Sequence[Run], chosen: Sequence[tuple[str, str]], top: int = 3, explain: bool = True
) -> list[Film]:
    """Build the example films from pairs (id, why it was chosen), with each run's predictions.

    Overviews and posters are read from the first run's data; if it is gone, the films are shown without them, and
    without explanations.
    """
    table = _film_table(runs[0], [film_id for film_id, _ in chosen])
    rows = () if table is None else zip(table.ids, table.overviews, table.poster_paths, strict=True)
    of_film = {film_id: (overview, path) for film_id, overview, path in rows}
    explained = {run.name: _explained(run, table) if explain and table is not None else {} for run in runs}
    films = []
    for film_id, kind in chosen:
        guesses = []
        for run in runs:
            at = run.predictions.row_of[film_id]
            prob, true = run.predictions.prob[at], run.predictions.true[at]
            best = top_genres(prob[None], top)[0]
            genres = tuple((run.genre_names[i], float(prob[i]), bool(true[i])) for i in best)
            guesses.append(Guess(run.name, genres, *explained[run.name].get(film_id, (None, None))))
        first = runs[0].predictions
        at = first.row_of[film_id]
        truth = tuple(name for name, has in zip(first.genre_names, first.true[at], strict=True) if has)
        overview, path = of_film.get(film_id, ("", None))
        title = shortened(first.titles[at])  # an unclosed quote in a table makes a title of all that follows
        films.append(Film(film_id, title, kind, truth, shortened(overview), _poster(path), tuple(guesses), path))
    return films


def _film_table(run: Run, ids: Sequence[str]) -> FilmTable | None:
    """Return those of the films that the run's data still have; None if it has none of them, or cannot be read."""
    from kgenre.data import FilmDataError, read_films, sample_films

    arguments = run.config.get("data", {}).get("init_args")
    if arguments is None:
        _log.warning("Example films are shown without poster and overview: %s does not record their path.", run.folder)
        return None
    try:
        table = read_films(arguments.get("path") or sample_films(), arguments.get("format", "auto"))
    except (FilmDataError, OSError) as error:
        _log.warning(
            "Example films are shown without poster and overview: %s If the films have moved, set --data.path.", error
        )
        return None
    row_of = {film_id: row for row, film_id in enumerate(table.ids)}
    rows = [row_of[film_id] for film_id in ids if film_id in row_of]
    tested = [run.predictions.titles[run.predictions.row_of[table.ids[row]]] for row in rows]
    pairs = [(row, title) for row, title in zip(rows, tested, strict=True) if title and table.titles[row]]
    others = {row: title for row, title in pairs if title.split() != table.titles[row].split()}
    for row, title in list(others.items())[:1]:
        _log.warning(
            "%d of the example films are shown without poster and overview, as %s has other films under their ids: %s "
            "is %.40s, and was %.40s in the test.",
            len(others),
            table.source,
            table.ids[row],
            table.titles[row],
            title,
        )
    rows = [row for row in rows if row not in others]
    return table.subset(rows) if rows else None


def _explained(run: Run, films: FilmTable) -> dict[str, Explanation]:
    """Map each film's id to the explanation of the run's most probable genre; {} if the run cannot explain."""
    from kgenre.checkpoints import CheckpointError

    try:
        return _explained_by(run, films)
    except (CheckpointError, ValueError, OSError) as error:
        _log.warning("%s is shown without explanations: %s", run.name, error)
        return {}


def _explained_by(run: Run, films: FilmTable) -> dict[str, Explanation]:
    from kgenre.data import FilmData
    from kgenre.data.overviews import has_words
    from kgenre.data.posters import poster_to_show
    from kgenre.data.text_words import TextWords
    from kgenre.models.trained_classifier import load_classifier

    checkpoint = checkpoint_of_test(run)
    module = load_classifier(checkpoint)
    # Imported only now: it imports Keras, which creating the classifier has prepared.
    from kgenre.models.explanations import grad_cam, word_importance

    data = FilmData.load_from_checkpoint(checkpoint)
    data.posters, data.overviews = "poster" in module.inputs, "overview" in module.inputs
    words_of = TextWords(data.standardize, data.word_split, data.stem)
    posters = [path if data.posters else None for path in films.poster_paths]
    overviews = [text if data.overviews else "" for text in films.overviews]
    if data.incomplete == "keep":  # the network did without a poster that cannot be read, or an overview without words
        posters = [path if poster_to_show(path) is not None else None for path in posters]
        overviews = [text if has_words(text) else "" for text in overviews]
    encoded = [  # one at a time: if the network needs only one input, each film gives those it has
        data.encode(None if poster is None else [poster], [overview] if overview else None)
        for poster, overview in zip(posters, overviews, strict=True)
    ]
    batch = {name: np.concatenate([film[name] for film in encoded]) for name in encoded[0]}
    at = [run.predictions.row_of[film_id] for film_id in films.ids]
    genres = run.predictions.prob[at].argmax(axis=1)
    found = {}
    for name, explain in (("poster", grad_cam), ("overview", word_importance)):
        if name in module.inputs:
            try:
                found[name] = explain(module, batch, genres)
            except ValueError as error:  # a network without a convolution or an embedding
                _log.warning("%s is shown without explanations of %ss: %s", run.name, name, error)
    heat, importance = found.get("poster"), found.get("overview")
    return {
        film_id: (
            None
            if heat is None
            else _poster(posters[n], partial(draw_heat, heat=heat[n], image_size=data.image_size, resize=data.resize)),
            None if importance is None else _words(shortened(overviews[n]), importance[n], words_of) or None,
        )
        for n, film_id in enumerate(films.ids)
    }


def _words(overview: str, importance: np.ndarray, words_of: TextWords) -> tuple[tuple[str, float], ...]:
    """Return the overview's words with their importance, scaled to [-1, 1]; words cut off by truncation have 0."""
    most = float(np.abs(importance).max()) or 1.0
    values = iter(importance / most)
    # A piece may have no token (a lone dash), which the network never saw, or several, of which the strongest counts.
    found = [(piece, list(islice(values, len(words_of(piece))))) for piece in words_of.pieces(overview)]
    return tuple((piece, float(max(seen, key=abs, default=0.0))) for piece, seen in found)


def _poster(path: Path | None, draw: Callable[[Image.Image], Image.Image] | None = None) -> bytes | None:
    """Return a small JPEG, changed by ``draw``; None if there is no readable poster."""
    from kgenre.data.posters import poster_to_show

    picture = poster_to_show(path)
    if picture is None:
        return None
    picture.thumbnail(_POSTER)
    buffer = io.BytesIO()
    (draw(picture) if draw else picture).save(buffer, format="JPEG", quality=80)
    return buffer.getvalue()
