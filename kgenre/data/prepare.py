"""Packing of films, checked and resized, into TFRecord shards with a manifest: a few large files for many small ones.

::

    OUT/manifest.json                  version, films, genre names, settings, the split that came with the films, and
                                       each shard's films, bytes and sha256
    OUT/films-00000-of-00003.tfrecord  tf.train.Example: id, title, year, overview, genres, poster (JPEG or raw uint8)
    OUT/quarantine.csv                 id, reason: rows and posters that were left out

`read_films(OUT)` reads them again.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kgenre.data.errors import FilmDataError, check_choice
from kgenre.data.film_arguments import check_image_size
from kgenre.data.film_table import FilmTable, LeftOut
from kgenre.data.overviews import has_words
from kgenre.data.packed_columns import ExaminedPosters
from kgenre.data.poster_decoding import OnProgress, decode_posters, encoded_picture
from kgenre.data.poster_examination import examine_posters
from kgenre.data.poster_files import usable_cpus
from kgenre.data.poster_resizing import RESIZE, Pixels

POSTERS = ("jpeg", "raw")
VERSION = 1
JPEG_QUALITY = 92
_OF_SYSTEMS = (".DS_Store", "Thumbs.db", "desktop.ini")  # the file managers of macOS and Windows create them
_log = logging.getLogger("kgenre")


def prepare_films(
    table: FilmTable,
    out: str | os.PathLike[str],
    image_size: tuple[int, int] = (192, 128),
    resize: str = "squash",
    posters: str = "jpeg",
    films_per_shard: int = 1024,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Write the films of a table into a folder; after an interruption the same call resumes after the last whole shard.

    A film whose poster is missing or bad is kept without it if it has an overview, and left out otherwise; both are
    listed in ``quarantine.csv``.

    Args:
        table: the films.
        out: a folder that is new, empty or was begun with the same films and settings; a finished one is overwritten.
        image_size: (height, width) of the posters, in pixels.
        resize: see `decode_posters`.
        posters: "jpeg" (quality 92) or "raw", uint8 pixels: lossless, but ten times larger.
        films_per_shard: the number of films per file.
        on_progress: called with (posters read, all posters), then with (films written, all films) after each shard.

    Returns:
        The manifest.

    Raises:
        FilmDataError: an argument is invalid, ``out`` holds something else or is not writable, or no film can be used.

    Example:
        >>> manifest = prepare_films(read_films("films"), "films-192x128")
        >>> manifest["films"], len(manifest["shards"])
        (120, 1)
    """
    check_choice("posters", posters, POSTERS)
    check_choice("resize", resize, RESIZE)
    check_image_size(image_size, (192, 128))
    if films_per_shard < 1:
        raise FilmDataError(f"films_per_shard={films_per_shard} must be 1 or more, such as 1024.")
    if not len(table):
        raise FilmDataError(f"{table.source} has no films.")
    settings = {"image_size": list(image_size), "resize": resize, "posters": posters, "version": VERSION}
    folder = Path(os.path.expanduser(out))
    files = examine_posters(table.poster_paths, table.root, on_progress)
    count = -(-len(table) // films_per_shard)
    names = [f"films-{n:05d}-of-{count:05d}.tfrecord" for n in range(count)]
    try:
        _check_folder(folder, names)
        _check_manifest(folder, {**settings, "source": table.source})
        folder.mkdir(parents=True, exist_ok=True)
        shards = []
        for number, name in enumerate(names):
            rows = range(number * films_per_shard, min(len(table), (number + 1) * films_per_shard))
            shards.append(_shard(folder / name, table, files, rows, settings))
            if on_progress:
                on_progress(rows.stop, len(table))
        if not any(shard["films"] for shard in shards):
            raise FilmDataError(f"No film of {table.source} can be used: {shards[0]['quarantine'][0][1]}.")
        bad = [*table.left_out, *(LeftOut(*entry) for shard in shards for entry in shard.pop("quarantine"))]
        # Paths in messages may not be UTF-8: what is not is escaped, in the manifest as in all JSON.
        with (folder / "quarantine.csv").open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            csv.writer(file).writerows([LeftOut._fields, *bad])
        for shard in shards:
            del shard["key"]
        manifest = {
            **settings,
            "source": table.source,
            "films": sum(shard["films"] for shard in shards),
            "quarantined": len(bad),
            "genre_names": list(table.genre_names),
            "shards": shards,
        }
        if table.split:
            manifest["split"] = {part: list(ids) for part, ids in table.split.items()}
        text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
        _write_whole(folder / "manifest.json", text.encode("utf-8", "backslashreplace"))
        for name in names:
            _part(folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise FilmDataError(
            f"{folder} cannot be written: {error.strerror or error}. Finished shards are kept: repeat the command once "
            "it can be written."
        ) from error
    return manifest


def _check_folder(folder: Path, names: Sequence[str]) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FilmDataError(f"{folder} is a file. Give a new folder.")
    ours = {*names, "manifest.json", "quarantine.csv", *(_part(folder / name).name for name in names), *_OF_SYSTEMS}
    other = sorted(p.name for p in folder.iterdir() if p.name not in ours and not p.name.endswith(".writing"))
    if other:
        raise FilmDataError(f"{folder} has other files in it, such as {other[0]}. Give a new folder.")


def _check_manifest(folder: Path, made: Mapping[str, Any]) -> None:
    """Refuse a folder that holds other films, or these with other settings: they would be overwritten."""
    try:
        known = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no manifest, or an unreadable one
        return
    if not isinstance(known, dict) or "shards" not in known:
        raise FilmDataError(f"{folder} has a manifest.json of something else. Give a new folder.")
    differing = [name for name in made if name in known and known[name] != made[name]]
    if differing:
        raise FilmDataError(
            f"{folder} already has prepared films, with {differing[0]} {known[differing[0]]} instead of "
            f"{made[differing[0]]}. Give a new folder, or remove this one."
        )


def _part(shard: Path) -> Path:
    return shard.with_name(f".{shard.name}.json")


def _shard(
    path: Path, table: FilmTable, files: ExaminedPosters, rows: range, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Write one shard unless an earlier call has; return {file, films, bytes, sha256, quarantine, key}."""
    fields = [(table.ids[i], table.titles[i], table.years[i], table.overviews[i], table.genres_of(i)) for i in rows]
    known = repr((settings, fields, [tuple(files[i]) for i in rows]))
    key = hashlib.sha256(known.encode("utf-8", "surrogatepass")).hexdigest()
    with suppress(OSError, ValueError):  # there is none, or a power failure has left half of one
        written = json.loads(_part(path).read_text(encoding="utf-8"))
        if written["key"] == key and hashlib.sha256(path.read_bytes()).hexdigest() == written["sha256"]:
            return written
    from kgenre.data.tensorflow import tf

    films, quarantine = 0, []
    part = path.with_name(path.name + ".writing")
    try:
        with tf.io.TFRecordWriter(str(part)) as writer:
            posters = _encoded(table, files, rows, settings)
            for i, about, (poster, reason) in zip(rows, fields, posters, strict=True):
                is_kept = bool(poster) or has_words(table.overviews[i])
                if is_kept:
                    writer.write(_example(tf, about, poster))
                    films += 1
                if table.poster_paths[i] is None:
                    reason = "" if is_kept else "no poster and no overview"
                if reason:
                    quarantine.append((table.ids[i], reason))
    except tf.errors.OpError as error:  # how TensorFlow reports a full disk, for example
        part.unlink(missing_ok=True)
        raise OSError(errno.EIO, error.message.rpartition("; ")[2], str(part)) from error
    data = part.read_bytes()
    part.replace(path)
    written = {
        "file": path.name,
        "films": films,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "quarantine": quarantine,
        "key": key,
    }
    _write_whole(_part(path), json.dumps(written).encode())
    return written


def _encoded(
    table: FilmTable, files: ExaminedPosters, rows: range, settings: Mapping[str, Any]
) -> Iterator[tuple[bytes, str]]:
    """Yield the posters of some rows as bytes with "", or b"" with the reason where one is bad."""
    paths, looked_at = [table.poster_paths[i] for i in rows], [files[i] for i in rows]
    jpeg = partial(encoded_picture, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
    encode: Callable[[Pixels], bytes] = np.ndarray.tobytes if settings["posters"] == "raw" else jpeg
    with ThreadPoolExecutor(usable_cpus()) as threads:
        for found in decode_posters(paths, looked_at, tuple(settings["image_size"]), settings["resize"]):
            encoded = threads.map(lambda one, reason: b"" if reason else encode(one), found.pixels, found.reasons)
            yield from zip(encoded, found.reasons, strict=True)


def _example(tf: Any, fields: tuple[str, str, int | None, str, Sequence[str]], poster: bytes) -> bytes:
    film_id, title, year, overview, genres = fields
    texts = {"id": [film_id], "title": [title], "overview": [overview], "genres": genres}
    feature = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[v.encode("utf-8", "replace") for v in values]))
        for name, values in texts.items()
    }
    feature["poster"] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[poster] if poster else []))
    feature["year"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[] if year is None else [year]))
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(deterministic=True)


def _write_whole(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".writing")
    part.write_bytes(data)
    part.replace(path)
