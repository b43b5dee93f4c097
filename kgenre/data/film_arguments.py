"""Validate the arguments of `FilmData`: errors name the value that was received, and what to give instead."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kgenre.data.errors import FilmDataError, check_choice
from kgenre.data.overviews import stemming_languages
from kgenre.data.poster_resizing import RESIZE
from kgenre.data.poster_table import PLACES
from kgenre.data.split import check_fractions
from kgenre.data.text_words import STANDARDIZE, WORD_SPLIT

LARGEST_SIDE = 65_535  # pixels, as in JPEG
LONGEST = 1_000_000  # words; with more, one film would fill the memory
FLAGS = ("posters", "overviews", "given_split", "drop_remainder")
INCOMPLETE = ("leave_out", "keep")
LEAST = {  # the smallest value, and an example for the message
    "batch_size": (1, "64"),
    "vocabulary_size": (3, "10000"),
    "sequence_length": (1, "100, or null for the longest overview"),
    "split_seed": (0, "0"),
    "seed": (0, "0"),
    "length_buckets": (1, "4"),
    "min_df": (1, "2"),
    "min_films": (0, "20"),
}
KNOWN = {
    "resize": RESIZE,
    "poster_table": PLACES,
    "standardize": STANDARDIZE,
    "word_split": WORD_SPLIT,
    "incomplete": INCOMPLETE,
}


def check_film_arguments(given: Mapping[str, Any]) -> None:
    """Raise `FilmDataError` for the first argument of `FilmData` that is invalid, alone or with another one."""
    _check_path(given["path"])
    for name in FLAGS:
        if not isinstance(given[name], bool | np.bool_):
            raise FilmDataError(f"{name}={given[name]!r} must be True or False.")
    if not (given["posters"] or given["overviews"]):
        raise FilmDataError("posters=False and overviews=False leave nothing to learn from. Set one to True.")
    check_image_size(given["image_size"], (64, 64))
    for name, (least, example) in LEAST.items():
        value = given[name]
        if value is None and name == "sequence_length":
            continue
        if not _is_whole(value):
            raise FilmDataError(f"{name}={value!r} is not a whole number. Give {least} or more, such as {example}.")
        if value < least:
            raise FilmDataError(f"{name}={value} is too small. Give {least} or more, such as {example}.")
    if (given["sequence_length"] or 0) > LONGEST:
        raise FilmDataError(f"sequence_length={given['sequence_length']} is too large. Give at most {LONGEST}.")
    check_fractions(given["val_fraction"], given["test_fraction"])
    if not (isinstance(given["max_bad_fraction"], int | float | np.floating) and 0 <= given["max_bad_fraction"] <= 1):
        raise FilmDataError(
            f"max_bad_fraction={given['max_bad_fraction']!r} must be a number from 0 to 1, such as 0.01."
        )
    known = KNOWN if given["stem"] is None else {**KNOWN, "stem": (None, *stemming_languages())}
    for name, values in known.items():
        check_choice(name, given[name], values)
    if given["incomplete"] == "keep" and given["poster_table"] == "stream":
        raise FilmDataError("incomplete='keep' needs a table of posters: set --data.poster_table memory or disk.")


def check_image_size(size: Any, example: tuple[int, int]) -> None:
    """Raise `FilmDataError` unless it is a height and a width; ``example`` is named in the message."""
    sides = size.tolist() if isinstance(size, np.ndarray) else size
    is_pair = isinstance(sides, Sequence) and len(sides) == 2 and all(map(_is_whole, sides))
    if not (is_pair and min(sides) >= 1 and max(sides) <= LARGEST_SIDE):
        raise FilmDataError(
            f"image_size={size} must be height and width in whole pixels, from 1 to {LARGEST_SIDE}, such as {example}."
        )


def _check_path(path: Any) -> None:
    if path is None or isinstance(path, str | os.PathLike):
        return
    # Those of pandas and Polars.
    ways = {"to_csv": "to_csv('films.csv', index=False)", "write_csv": "write_csv('films.csv')"}
    advice = next((f" Write it to a file first, df.{way}." for name, way in ways.items() if hasattr(path, name)), "")
    raise FilmDataError(f"path must be a folder of films, or a file. Received: a {type(path).__name__}.{advice}")


def _is_whole(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool | np.ndarray)
