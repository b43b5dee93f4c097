"""A split that comes as one file for each part: ``train.csv``, ``val.csv``, ``test.csv``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}


def part_of(file: Path) -> str:
    """The part that a file is named after; "" if it is none."""
    return PARTS.get(file.stem.lower(), "")


def parts_in(files: Sequence[Path]) -> list[Path]:
    """The files of the parts, training first; [] unless each is named after a different part, one of them "train".

    Example:
        >>> parts_in([Path("test.csv"), Path("train.csv")])
        [PosixPath('train.csv'), PosixPath('test.csv')]
    """
    named = {part_of(file): file for file in files}
    if "" in named or "train" not in named or len(named) < len(files):
        return []
    return [named[part] for part in dict.fromkeys(PARTS.values()) if part in named]
