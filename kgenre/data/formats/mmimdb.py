"""MM-IMDb as its scripts write it: ``split.json`` next to ``dataset/<id>.json`` and ``dataset/<id>.jpeg``.

``split.json`` lists the ids under "train", "dev" and "test"; a film's JSON has "title", "year", "genres" and
"plot", a list of texts. Arevalo et al., Gated Multimodal Units for Information Fusion,
https://arxiv.org/abs/1702.01992.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kgenre.data.errors import FilmDataError
from kgenre.data.film_table import FilmTable
from kgenre.data.formats.gathered_films import GatheredFilms
from kgenre.data.formats.genre_cell import is_genre
from kgenre.data.formats.json_rows import as_text
from kgenre.data.formats.layout import Layout
from kgenre.data.packed_columns import PosterPaths
from kgenre.data.progress_line import ProgressLine

PARTS = {"train": "train", "dev": "validation", "test": "test"}


def read(path: Path) -> FilmTable:
    """Read the films that ``split.json`` at ``path`` lists, in its order.

    The overview is the longest text of "plot", else "plot outline". The published split is in ``table.split``.

    Raises:
        FilmDataError: the file is not MM-IMDb's, there is no folder ``dataset`` next to it, or it has no films.

    Example:
        >>> table = read(Path("mmimdb/split.json"))
        >>> len(table), table.poster_paths[0]
        (25959, PosixPath('mmimdb/dataset/2324928.jpeg'))
    """
    split = _split(path)
    folder = path.parent / "dataset"
    if not folder.is_dir():
        raise FilmDataError(f"{path.parent} has no folder named dataset. Put the <id>.json and <id>.jpeg files there.")
    films, known = GatheredFilms[tuple[str, ...]](path), set()
    read: dict[str, list[str]] = {part: [] for part in PARTS.values()}  # a film that is listed twice counts once
    ids = [(part, film_id) for name, part in PARTS.items() for film_id in split[name]]
    with ProgressLine("Reading films") as progress:
        for done, (part, film_id) in enumerate(ids):
            progress(done, len(ids))
            film, reason = ({}, "it is in split.json twice") if film_id in known else _film(folder / f"{film_id}.json")
            if reason:
                films.leave_out(film_id, reason)
                continue
            known.add(film_id)
            read[part].append(film_id)
            films.add(
                film_id,
                genres=tuple(filter(is_genre, map(as_text, film.get("genres", [])))),
                title=as_text(film.get("title")),
                year=film["year"] if isinstance(film.get("year"), int) else None,
                overview=_overview(film),
            )
    if not known:
        why = "{}: {}".format(*films.left_out[0]) if films.left_out else "its lists are empty"
        raise FilmDataError(f"{path} has no films ({why}).")
    films.notes.append(f"{path.name} splits the films into {', '.join(f'{len(split[n]):,} {n}' for n in PARTS)}.")
    return films.table(
        "the MM-IMDb layout",
        tuple,
        poster_paths=PosterPaths(folder / f"{film_id}.jpeg" for film_id in films.ids),
        split=read,
    )


def _split(path: Path) -> dict[str, list[str]]:
    split = json.loads(path.read_bytes())
    lists = [split.get(name) for name in PARTS] if isinstance(split, dict) else [None]
    # Letters and digits only: an id becomes part of a path.
    if not all(isinstance(ids, list) and all(isinstance(i, str) and i.isalnum() for i in ids) for ids in lists):
        raise FilmDataError(f"{path} is not MM-IMDb's: it must have lists of ids named {', '.join(PARTS)}.")
    return split


def _film(path: Path) -> tuple[dict[str, Any], str]:
    try:
        film = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}, f"there is no dataset/{path.name}"
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"dataset/{path.name} cannot be read as JSON ({error})"
    genres = film.get("genres", []) if isinstance(film, dict) else None
    if not isinstance(genres, list) or not all(isinstance(genre, str) for genre in genres):
        return {}, f"dataset/{path.name} is not a film with a list of genres"
    return film, ""


def _overview(film: dict[str, Any]) -> str:
    texts = film.get("plot") or film.get("plot outline")
    # Each text may end in "::" and its author's name.
    plots = [t.rpartition("::")[0] or t for t in (texts if isinstance(texts, list) else [texts]) if isinstance(t, str)]
    return max(map(as_text, plots), key=len, default="")


MMIMDB = Layout(
    "split.json",
    "with dataset/<id>.json and dataset/<id>.jpeg (MM-IMDb)",
    tuple(PARTS),
    read,
    exact=True,
    kinds=(".json",),
    in_parts=False,
)
