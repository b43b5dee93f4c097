"""The ``Multi_Label_dataset`` layout: ``whole.csv``, ``train.csv``, ... beside ``Images/<Id>.jpg``.

The coursework's columns without ``Overview``; see ``course``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kgenre.data.film_table import FilmTable
from kgenre.data.formats import course

FILE_NAME = "whole.csv"
COLUMNS = ("Id", "Genre")
SUFFIXES = (".csv",)
LAYOUT = f"{FILE_NAME} (columns Id, Genre, one per genre) with Images/<Id>.jpg"


def missing_columns(header: Sequence[str]) -> list[str]:
    """The columns of this layout that a header lacks."""
    return [name for name in COLUMNS if name not in header]


def read(path: Path) -> FilmTable:
    """Read the CSV file at ``path``; films have no overviews.

    Raises:
        FilmDataError: not text, not CSV, or no film in it.

    Example:
        >>> read(Path("Multi_Label_dataset/whole.csv")).source
        'the Multi_Label_dataset layout, Multi_Label_dataset/whole.csv'
    """
    return replace(course.read(path), source=f"the Multi_Label_dataset layout, {path}")
