"""What every baseline says of a datamodule's films, worked out once per split and kept on the disk."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kgenre.engines.cache_folder import keep, note_use
from kgenre.evaluation.baselines import Baseline, FrequencyBaseline, TfidfBaseline
from kgenre.evaluation.poster_baseline import PosterBaseline, poster_features
from kgenre.evaluation.top3_baseline import Top3Baseline

_VERSION = 2  # of the baselines: a change of theirs makes what is kept void
_MOST_FILES = 64  # four a split


def predict_baselines(data: Any, folder: Path) -> dict[str, np.ndarray]:
    """Fit the baselines on the training films of a datamodule with ``table`` and ``split`` and apply them to all films.

    TF-IDF is left out where no training film has an overview, the poster baseline where the data give no posters.

    Args:
        data: a `FilmData` that is set up.
        folder: where predictions are kept between runs; a folder that cannot be written costs only time.

    Returns:
        Key of the baseline -> (n, G) float64 probabilities for the n films of the table.
    """
    table, train = data.table, data.split.train
    inputs: dict[str | None, Any] = {None: list(range(len(table)))}
    if any(table.overviews[i] for i in train):
        inputs["overview"] = list(table.overviews)
    if getattr(data, "posters", False):
        inputs["poster"] = np.concatenate(list(_features(data)))
    predictions = {}
    kinds: tuple[type[Baseline], ...] = (FrequencyBaseline, Top3Baseline, TfidfBaseline, PosterBaseline)
    for kind in kinds:
        if kind.reads in inputs:
            films = inputs[kind.reads]
            predictions[kind.key] = _cached(kind(), films, table.genres, train, folder)
    return predictions


def _cached(baseline: Baseline, films: Any, genres: np.ndarray, train: np.ndarray, folder: Path) -> np.ndarray:
    import sklearn

    content = hashlib.sha256(repr((_VERSION, sklearn.__version__, baseline.key, vars(baseline))).encode())
    for part in (films, genres, train):
        content.update(np.ascontiguousarray(part).data if isinstance(part, np.ndarray) else repr(part).encode())
    path = folder / f"{baseline.key}-{content.hexdigest()[:24]}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):  # there is none, or a damaged one
        predicted = np.load(path, allow_pickle=False)
        note_use(path)
        return predicted
    rows = [films[i] for i in train] if isinstance(films, list) else films[train]
    predicted = baseline.fit(rows, genres[train]).predict_proba(films)
    keep(path, lambda file: np.save(file, predicted), _MOST_FILES)
    return predicted


def _features(data: Any) -> Iterator[np.ndarray]:
    for batch in data.predict_dataloader():  # all films, in the order of the table
        yield poster_features(np.asarray(batch["poster"])[np.asarray(batch["weight"]) > 0])
