"""Encode films that are in no table, given as pictures or texts, in the same way as those of a table."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kgenre.data.errors import FilmDataError, NotReadError
from kgenre.data.overview_text import overview_text
from kgenre.data.overviews import OverviewVectorizer, has_words
from kgenre.data.posters import Poster, read_poster

_log = logging.getLogger("kgenre")


def encode_given(
    posters: Sequence[Poster] | None,
    overviews: Sequence[str] | None,
    reads: Mapping[str, bool],
    may_lack: bool,
    image_size: tuple[int, int],
    resize: str,
    vectorizer: OverviewVectorizer | None,
) -> dict[str, npt.NDArray[Any]]:
    """The inputs that a model reads; see `FilmData.encode`.

    Args:
        posters: n picture files or pictures, see `read_poster`; None if there are none.
        overviews: n texts; None if there are none.
        reads: whether the model reads "poster", and whether it reads "overview".
        may_lack: whether either is enough for the model; a missing poster is black, a missing overview has no words.
        image_size: see `FilmData`.
        resize: see `FilmData`.
        vectorizer: turns overviews into token ids.

    Returns:
        ``poster`` uint8 (n, H, W, 3) and ``overview`` int32 (n, T): what is read and, unless ``may_lack``, given.

    Raises:
        FilmDataError: nothing is given, or a poster or overview is bad or empty.
        RuntimeError: overviews are read, and there is no vocabulary.
    """
    given = {"poster": _listed("poster", posters), "overview": _listed("overview", overviews)}
    lacking = [name for name, values in given.items() if reads[name] and not values]
    if len(lacking) == sum(reads.values()):
        raise FilmDataError(f"This model reads {lacking[0]}s: give the film's {lacking[0]} (--{lacking[0]}).")
    for name, values in given.items():
        if values and not reads[name]:
            _log.warning("The %s is not used: this model does not read %ss.", name, name)
    counts = {name: len(values) for name, values in given.items() if reads[name] and values}
    if len(set(counts.values())) > 1:
        raise FilmDataError(f"The numbers of posters and overviews must be equal. Received: {counts}.")
    n = next(iter(counts.values()))
    films: dict[str, npt.NDArray[Any]] = {}
    # The model may need less than its data have; if it does need an input that is lacking, it raises an error itself.
    if "poster" in counts or may_lack:
        films["poster"] = np.zeros((n, *image_size, 3), np.uint8)
        for i, path in enumerate(given["poster"]):
            films["poster"][i] = read_poster(path, image_size, resize)
    if "overview" in counts or may_lack:
        if vectorizer is None:
            raise NotReadError("FilmData has no vocabulary yet: call load_state_dict(...) or setup(...) first.")
        # A column of pandas has NaN where an overview is missing.
        texts = [overview_text(text) if isinstance(text, str) else "" for text in given["overview"]]
        for text, read in zip(given["overview"], texts, strict=True):
            if not has_words(read):
                raise FilmDataError(f"The overview {text!r} has no words. Give a sentence or two about the film.")
        films["overview"] = vectorizer.encode(texts or [""] * n)
        _warn_about_unknown_words(films["overview"])
    return films


def _listed(name: str, values: Iterable[Any] | None) -> list[Any]:
    values = () if values is None else values
    if isinstance(values, str | os.PathLike) or not isinstance(values, Iterable):
        raise FilmDataError(f"{name}s={str(values)[:60]!r} is a single {name}. Pass a list, such as [{name}].")
    return list(values)  # arrays and pandas columns have no truth value


def _warn_about_unknown_words(tokens: npt.NDArray[np.int32]) -> None:
    words, known = (tokens > 0).sum(axis=1), (tokens > 1).sum(axis=1)
    for count, those in zip(words, known, strict=True):
        if 4 * those < count:
            _log.warning(
                "The model knows only %d of the overview's %d %s (is it in another language?), so its prediction "
                "says little about this film.",
                those,
                count,
                "word" if count == 1 else "words",
            )
