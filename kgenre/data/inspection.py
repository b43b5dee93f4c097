"""Inspection of film data before training: counts, missing values, bad files, duplicates, leaks between parts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kgenre.data.corrupted_texts import corrupted_texts
from kgenre.data.film_table import FilmTable
from kgenre.data.genres import scarce_genres
from kgenre.data.overviews import normalised_overview
from kgenre.data.packed_columns import ExaminedPosters
from kgenre.data.placeholder_posters import placeholder_notes, placeholder_posters, rows_by_key
from kgenre.data.poster_decoding import OnProgress, decode_posters
from kgenre.data.poster_examination import examine_posters
from kgenre.data.posters import why_missing
from kgenre.data.split import connected, duplicate_keys
from kgenre.data.text_words import word_split_advice

NEAR = 4  # of 64 bits: the most in which the hashes of near-identical posters differ
_BANDS = 5  # NEAR + 1: two hashes that differ in NEAR bits still agree in at least one band
_LARGEST_BAND = 200  # posters; more that agree in a band, such as near-blank ones, are not compared pair by pair
_HASH_SIZE = (8, 9)
_ALIKE = 30.0  # of 255: the largest root-mean-square difference between thumbnails of near-identical posters


def inspect_films(
    table: FilmTable,
    split: Mapping[str, Sequence[str]] | None = None,
    on_progress: OnProgress | None = None,
    min_films: int = 20,
) -> dict[str, Any]:
    """Inspect every row and decode every poster.

    Args:
        table: the films, as `read_films` returns them.
        split: film ids by the name of their part, as in a run's ``split.json``; a film, poster, overview or title and
            year that occurs in several parts is a leak.
        on_progress: called with (posters read, all posters), then with (posters decoded, all posters).
        min_films: a genre with fewer films is rare: it can hardly be learned.

    Returns:
        JSON values: source, notes, films, genres (name, films, share), min_films, rare and never_occurring (names of
        genres), without (number of films without poster, overview, genre), rows_left_out (id, reason), bad_posters
        (id, file, reason), duplicates (identical_posters, near_identical_posters, identical_overviews,
        same_title_and_year: lists of ids, the longest first; in near_identical_posters each is near-identical to
        another one of its list), placeholder_posters (lists of ids, see `placeholder_posters`), leaks
        (parts, ids, why), poster_pixels and overview_words (least, median, most), poster_megabytes.

    Example:
        >>> report = inspect_films(read_films("films"))
        >>> report["films"], report["genres"][0]
        (120, {'name': 'Drama', 'films': 48, 'share': 0.4})
    """
    files = examine_posters(table.poster_paths, table.root, on_progress)
    hashes, thumbnails, reasons = _perceptual_hashes(table, files, on_progress)
    good = [i for i, reason in enumerate(reasons) if not reason]
    counts = table.genres.sum(axis=0, dtype=np.int64)
    rare, never = scarce_genres(table, min_films)
    genres = [
        {"name": table.genre_names[i], "films": int(counts[i]), "share": round(float(counts[i]) / len(table), 4)}
        for i in np.argsort(-counts, kind="stable")
        if counts[i]
    ]
    words = np.fromiter((len(normalised_overview(text).split()) for text in table.overviews), np.int64, len(table))
    keys_of = duplicate_keys(table, files)
    groups = {kind: [group.tolist() for group in rows_by_key(keys) if keys[group[0]]] for kind, keys in keys_of.items()}
    placeholders = placeholder_posters(table, files)
    no_posters = {row for rows in placeholders for row in rows.tolist()}
    posters = [row for row in good if row not in no_posters]
    groups["near_identical_posters"] = _near(hashes, thumbnails, posters, groups["identical_posters"])
    groups = {kind: sorted(found, key=len, reverse=True) for kind, found in groups.items()}
    named = [film_id for film_id, path in zip(table.ids, table.poster_paths, strict=True) if path is not None]
    missing = {film_id for film_id, reason in zip(table.ids, reasons, strict=True) if reason == "no such file"}
    return {
        "source": table.source,
        "notes": [
            *table.notes,
            *_about_posters(table),
            *placeholder_notes(table, files, placeholders),
            *word_split_advice(table.overviews, "lower_and_strip_punctuation", "whitespace"),
            *corrupted_texts(table),
        ],
        "films": len(table),
        "genres": genres,
        "min_films": min_films,
        "rare": [name for name, _ in rare],
        "never_occurring": never,
        "without": {
            "poster": len(table) - len(named) + len(missing),
            "overview": int((words == 0).sum()),
            "genre": int((table.genres.sum(axis=1) == 0).sum()),
        },
        "rows_left_out": [entry._asdict() for entry in table.left_out],
        "bad_posters": [
            {"id": table.ids[i], "file": str(table.poster_paths[i]), "reason": reason}
            for i, reason in enumerate(reasons)
            if reason and table.poster_paths[i] is not None and table.ids[i] not in missing
        ],
        "duplicates": {name: [[table.ids[i] for i in group] for group in found] for name, found in groups.items()},
        "placeholder_posters": [[table.ids[i] for i in rows] for rows in placeholders],
        "leaks": _leaks(table, split or table.split or {}, groups),
        "poster_pixels": {side: _spread([getattr(files[i], side) for i in good]) for side in ("width", "height")},
        "overview_words": _spread(words[words > 0]),
        "poster_megabytes": round(sum(path.stat().st_size for i in good if (path := table.poster_paths[i])) / 1e6, 1),
    }


def _about_posters(table: FilmTable) -> list[str]:
    why = why_missing(table)
    about = [text for text in (table.posters_found or ("none" if why else ""), why) if text]
    return [f"Posters: {'; '.join(about)}"] if about else []


def _perceptual_hashes(
    table: FilmTable, files: ExaminedPosters, on_progress: OnProgress | None
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8], list[str]]:
    """Return difference hashes (bits: which of 8 x 8 pixels are brighter than the next), thumbnails and reasons."""
    hashes, thumbnails = np.zeros(len(table), np.uint64), np.zeros((len(table), *_HASH_SIZE, 3), np.uint8)
    reasons: list[str] = []
    for found in decode_posters(table.poster_paths, files, _HASH_SIZE, on_progress=on_progress):
        grey = found.pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
        bits = (grey[:, :, :-1] > grey[:, :, 1:]).reshape(len(grey), 64)
        hashes[found.positions] = np.packbits(bits, axis=1).view(np.uint64)[:, 0]
        thumbnails[found.positions] = found.pixels
        reasons += found.reasons
    return hashes, thumbnails, reasons


def _near(
    hashes: npt.NDArray[np.uint64],
    thumbnails: npt.NDArray[np.uint8],
    good: Sequence[int],
    identical: list[list[int]],
) -> list[list[int]]:
    """Return groups of rows, each near-identical to another row of its group, unless all of a group are identical."""
    rows = np.array(good, np.int64)
    of_good = hashes[rows]
    links = [np.empty((2, 0), np.int64)]
    for band in range(_BANDS):
        shift = np.uint64(band * 64 // _BANDS)
        mask = np.uint64((1 << ((band + 1) * 64 // _BANDS - band * 64 // _BANDS)) - 1)
        for group in rows_by_key((of_good >> shift) & mask):
            if len(group) > _LARGEST_BAND:
                continue
            members = rows[group]
            distance = np.bitwise_count(hashes[members][:, None] ^ hashes[members])
            pairs = np.argwhere(np.triu(distance <= NEAR, 1)).T
            first, second = members[pairs]
            # One pair in a million of unrelated pictures has such hashes by chance, so compare the pixels too.
            apart = thumbnails[first].astype(np.float32) - thumbnails[second]
            alike = np.sqrt((apart**2).mean(axis=(1, 2, 3))) <= _ALIKE
            if alike.any():  # link each to the first of its group: all pairs could be millions
                _, firsts, number = np.unique(
                    connected(pairs[:, alike], len(members)), return_index=True, return_inverse=True
                )
                links.append(np.stack([members[firsts[number]], members]))
    near = rows_by_key(connected(np.concatenate(links, axis=1), len(hashes)))
    whole = set(map(tuple, identical))
    return [group for group in map(np.ndarray.tolist, near) if tuple(group) not in whole]


def _leaks(
    table: FilmTable, split: Mapping[str, Sequence[str]], groups: Mapping[str, list[list[int]]]
) -> list[dict[str, Any]]:
    parts_of: dict[str, list[str]] = defaultdict(list)
    for part, ids in split.items():
        if isinstance(ids, Sequence) and not isinstance(ids, str):
            for film_id in dict.fromkeys(ids):
                parts_of[film_id].append(part)
    leaks = [
        {"parts": parts, "ids": [film_id], "why": "the same film"}
        for film_id, parts in parts_of.items()
        if len(parts) > 1
    ]
    for why, found in groups.items():
        for group in found:
            ids = [table.ids[i] for i in group if table.ids[i] in parts_of]
            parts = sorted({part for film_id in ids for part in parts_of[film_id]})
            if len(parts) > 1:
                leaks.append({"parts": parts, "ids": ids, "why": why.replace("_", " ")})
    return leaks


def _spread(values: Sequence[int] | npt.NDArray[np.int64]) -> dict[str, int]:
    if not len(values):
        return {}
    return {"least": int(min(values)), "median": int(np.median(values)), "most": int(max(values))}
