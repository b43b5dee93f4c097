"""Join one file per part of a split (``train.csv``, ``val.csv``, ``test.csv``) into one table with that split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from kgenre.data.film_table import FilmTable, LeftOut
from kgenre.data.formats.layout import Layout

PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}


def parts_in(files: Sequence[Path]) -> dict[str, Path]:
    """The file of each part, training first; {} unless each file is named after a different part, one of them "train".

    Example:
        >>> parts_in([Path("test.csv"), Path("train.csv")])
        {'train': PosixPath('train.csv'), 'test': PosixPath('test.csv')}
    """
    named = {PARTS.get(file.stem.lower(), ""): file for file in files}
    if "" in named or "train" not in named or len(named) < len(files):
        return {}
    return {part: named[part] for part in dict.fromkeys(PARTS.values()) if part in named}


def read_parts(files: Mapping[str, Path], layout: Layout) -> FilmTable:
    """Read and join one file per part; a film that an earlier part has is left out. Genres are those of all, sorted.

    Raises:
        FilmDataError: a file cannot be read.
    """
    split: dict[str, Sequence[str]] = {}
    tables: list[FilmTable] = []
    left_out: list[LeftOut] = []
    for part, file in files.items():
        table = layout.read_part(file, tables[0]) if layout.read_part and tables else layout.read(file)
        known = set(chain.from_iterable(split.values()))
        again = [LeftOut(film_id, "it is in another part too") for film_id in table.ids if film_id in known]
        left_out += [LeftOut(row, f"{file.name}: {reason}") for row, reason in (*table.left_out, *again)]
        tables.append(table.subset([row for row, film_id in enumerate(table.ids) if film_id not in known]))
        split[part] = tables[-1].ids
    first = tables[0]
    names: Sequence[str] = sorted({name for table in tables for name in table.genre_names})
    if all(table.genre_names == first.genre_names for table in tables):
        names = first.genre_names  # keep their order: the course's are not sorted

    def joined(column: str) -> Any:
        return tuple(chain.from_iterable(getattr(table, column) for table in tables))

    others = " and ".join(file.name for file in list(files.values())[1:])
    found = zip(files.values(), tables, strict=True)
    return replace(
        first,
        **{name: joined(name) for name in ("ids", "titles", "years", "overviews", "poster_paths")},
        genres=np.concatenate([table.with_genres(names).genres for table in tables]),
        genre_names=tuple(names),
        source=f"{first.source} with {others}",
        left_out=tuple(left_out),
        notes=tuple(dict.fromkeys(joined("notes"))),
        split=split,
        posters_found="; ".join(f"{file.name}: {table.posters_found}" for file, table in found if table.posters_found),
    )
