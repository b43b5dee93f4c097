"""The layout that ``kgenre data prepare`` writes: ``manifest.json`` next to TFRecord shards.

Posters are unpacked once into ``$KGENRE_CACHE/prepared``, in a folder named by a hash of the manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kgenre.data.errors import FilmDataError
from kgenre.data.film_table import FilmTable
from kgenre.data.formats.gathered_films import GatheredFilms
from kgenre.data.formats.layout import Layout
from kgenre.data.formats.unpacked_posters import unpacked_posters
from kgenre.data.packed_columns import PackedTexts, PosterPaths
from kgenre.data.poster_decoding import encoded_picture
from kgenre.data.prepare import VERSION


def read(path: Path) -> FilmTable:
    """Read the films of the shards that ``manifest.json`` at ``path`` lists.

    Raises:
        FilmDataError: not a manifest of this version, a shard is missing or changed, or the cache cannot be written.
    """
    text = path.read_bytes()
    try:
        manifest = json.loads(text)
        shards = [(Path(str(shard["file"])).name, shard["sha256"]) for shard in manifest["shards"]]
        names, version = tuple(map(str, manifest["genre_names"])), manifest["version"]
        posters, image_size, count = manifest["posters"], manifest["image_size"], int(manifest["films"])
    except (ValueError, KeyError, TypeError) as error:
        raise FilmDataError(f"{path} is not a manifest of kgenre data prepare ({error!r}).") from error
    if version != VERSION:
        raise FilmDataError(f"{path} has version {version}; this kgenre reads {VERSION}. Prepare the films again.")
    for name, sha256 in shards:
        shard = path.parent / name
        if not shard.is_file():
            raise FilmDataError(f"{shard} is missing. Copy the whole folder, or prepare the films again.")
        if hashlib.sha256(shard.read_bytes()).hexdigest() != sha256:
            raise FilmDataError(
                f"{shard} is not the file that the manifest describes (sha256). Copy the folder again, or repeat "
                "kgenre data prepare, which may have been interrupted."
            )
    files = [path.parent / name for name, _ in shards]
    folder = _posters_folder(hashlib.sha256(text).hexdigest(), files, posters, image_size, count)
    films, paths = GatheredFilms[tuple[str, ...]](path), PackedTexts()
    for file in files:
        for film in _films(file):
            poster = folder / f"{len(paths):07d}{_suffix(posters)}"
            paths.append(str(poster) if film.pop("poster") else "")
            films.add(film.pop("id"), **film)
    return films.table(
        "prepared films",
        tuple,
        names,
        poster_paths=PosterPaths(paths),
        root=folder,
        split=manifest.get("split"),
    )


def _suffix(posters: str) -> str:
    return ".jpg" if posters == "jpeg" else ".png"


def _posters_folder(key: str, shards: Sequence[Path], posters: str, image_size: Sequence[int], count: int) -> Path:
    films = enumerate(film for shard in shards for film in _films(shard))
    pictures = (
        (f"{i:07d}{_suffix(posters)}", _picture(film["poster"], posters, image_size))
        for i, film in films
        if film["poster"]
    )
    return unpacked_posters("prepared", key[:32], pictures, count)


def _picture(data: bytes, posters: str, image_size: Sequence[int]) -> bytes:
    """A poster of a shard as the bytes of a picture file: a JPEG unchanged, raw pixels as a PNG."""
    if posters == "jpeg":
        return data
    return encoded_picture(np.frombuffer(data, np.uint8).reshape(*image_size, 3), "PNG", compress_level=1)


def _films(shard: Path) -> Iterator[dict[str, Any]]:
    from kgenre.data.tensorflow import tf

    for record in tf.data.TFRecordDataset(str(shard)).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        film = {
            n: [v.decode("utf-8") for v in feature[n].bytes_list.value] for n in ("id", "title", "overview", "genres")
        }
        years, posters = feature["year"].int64_list.value, feature["poster"].bytes_list.value
        yield {
            **{name: film[name][0] for name in ("id", "title", "overview")},
            "genres": tuple(film["genres"]),
            "year": int(years[0]) if years else None,
            "poster": posters[0] if posters else b"",
        }


PREPARED = Layout(
    "manifest.json",
    "with films-*.tfrecord (made by kgenre data prepare)",
    ("file", "films", "bytes", "sha256"),  # of a shard, as in the manifest
    read,
    exact=True,
    kinds=(".json",),
    in_parts=False,
)
