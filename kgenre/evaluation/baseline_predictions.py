"""The predictions of all baselines for a datamodule's films, computed once per split and cached on disk."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kgenre.data.progress_line import ProgressLine
from kgenre.engines.cache_folder import mark_used, write_cached
from kgenre.evaluation.baselines import BASELINES, Baseline
from kgenre.evaluation.poster_statistics import poster_features

_VERSION = 3  # of the baselines: raise it when they change, to invalidate the cache
_MAX_FILES = 64  # four per split


def predict_baselines(data: Any, folder: Path) -> dict[str, np.ndarray]:
    """Fit the baselines on the training films of a datamodule with ``table`` and ``split`` and apply them to all films.

    TF-IDF is left out if no training film has an overview, the poster baseline if the data has no ``posters_key``.
    Cached predictions of earlier runs are reused, without reading a poster.

    Args:
        data: a `FilmData` that has been set up.
        folder: cache for predictions of all runs; if it cannot be written, only time is lost.

    Returns:
        Baseline key -> (n, G) float64 probabilities for the n films of the table.
    """
    table, train = data.table, data.split.train
    posters_key = getattr(data, "posters_key", "")
    # What a baseline reads -> texts that identify these films in the cache key, and a function that loads the films.
    inputs: dict[str | None, tuple[Iterable[str], Callable[[], Any]]] = {None: ((), lambda: range(len(table)))}
    if any(table.overviews[i] for i in train):
        inputs["overview"] = table.overviews, lambda: list(table.overviews)
    if posters_key:
        inputs["poster"] = (posters_key,), lambda: _features(data)
    return {
        kind.key: _cached(kind(), *inputs[kind.reads], table.genres, train, folder)
        for kind in BASELINES
        if kind.reads in inputs
    }


def _cached(
    baseline: Baseline,
    key: Iterable[str],
    films: Callable[[], Any],
    genres: np.ndarray,
    train: np.ndarray,
    folder: Path,
) -> np.ndarray:
    import sklearn

    content = hashlib.sha256(repr((_VERSION, sklearn.__version__, baseline.key, vars(baseline))).encode())
    for text in key:
        of_film = text.encode("utf-8", "surrogatepass")
        content.update(len(of_film).to_bytes(8, "big") + of_film)
    for part in (genres, train):
        content.update(np.ascontiguousarray(part).data)
    path = folder / f"{baseline.key}-{content.hexdigest()[:24]}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):  # missing or damaged
        predicted = np.load(path, allow_pickle=False)
        mark_used(path)
        return predicted
    read = films()
    rows = read[train] if isinstance(read, np.ndarray) else [read[i] for i in train]
    with ProgressLine(f"Baseline: {baseline.title}") as progress:
        predicted = baseline.fit(rows, genres[train], progress).predict_proba(read)
    write_cached(path, lambda file: np.save(file, predicted), _MAX_FILES)
    return predicted


def _features(data: Any) -> npt.NDArray[np.float32]:
    """Return `poster_features` of all films, in the order of the table; a bad poster counts as black."""
    films, found = len(data.table), []
    with ProgressLine("Colours and layout of posters") as progress:
        for batch in data.predict_dataloader():
            found.append(poster_features(np.asarray(batch["poster"])))
            progress(min(films, len(found) * len(found[0])), films)
    return np.concatenate(found)[:films]  # the last batch is padded
