"""MM-IMDb as it is published: ``multimodal_imdb.hdf5``, and the vocabulary of its plots in ``metadata.npy``.

``genres`` int (n, 23) with ``target_names`` as JSON in its attributes; ``imdb_ids``; ``images`` int (n, 3, 256, 160),
BGR with VGG's channel means subtracted; ``sequences`` of word indices; ``split``, an attribute of the file. See
make_dataset.py in https://github.com/johnarevalo/gmu-mmimdb. Posters are unpacked once into ``$KGENRE_CACHE/mmimdb``.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kgenre.data.errors import FilmDataError
from kgenre.data.film_table import FilmTable
from kgenre.data.formats.gathered_films import GatheredFilms
from kgenre.data.formats.layout import Layout
from kgenre.data.formats.mmimdb import PARTS
from kgenre.data.formats.unpacked_posters import unpacked_posters
from kgenre.data.packed_columns import PosterPaths
from kgenre.data.poster_decoding import encoded_picture

FILE_NAME = "multimodal_imdb.hdf5"
ARRAYS = ("genres", "imdb_ids", "images", "sequences")
_MEANS = np.array([103.939, 116.779, 123.68], np.float32)  # blue, green, red


def names_in(path: Path) -> list[str]:
    """The top-level names in an HDF5 file.

    Raises:
        FilmDataError: the file cannot be opened as HDF5.
    """
    with _open(path) as file:
        return list(file)


def read(path: Path) -> FilmTable:
    """Read the HDF5 file at ``path``. Without ``metadata.npy`` films have no overviews, as a note in the table records.

    Raises:
        FilmDataError: the file is not MM-IMDb's, or the cache cannot be written.
    """
    with _open(path) as file:
        try:
            lengths = {name: len(file[name]) for name in ARRAYS}
            if len(set(lengths.values())) > 1:
                raise ValueError(f"lengths of its arrays: {lengths}")
            ids = tuple(_text(value) for value in file["imdb_ids"][...])
            names = tuple(json.loads(file["genres"].attrs["target_names"]))
            genres = np.asarray(file["genres"][...] != 0, np.uint8)
            split = _split(file, ids)
            posters = _posters(path, ids, file["images"])
            words = _words(path.with_name("metadata.npy"))
            texts = file["sequences"][...]
            overviews = [" ".join(words[number] for number in map(int, text) if number in words) for text in texts]
        except FilmDataError:  # a ValueError, but not about this file
            raise
        except (KeyError, ValueError, TypeError) as error:
            raise FilmDataError(f"{path} is not {FILE_NAME} as MM-IMDb's scripts write it ({error}).") from error
    if len(set(ids)) < len(ids) or genres.shape != (len(ids), len(names)):
        raise FilmDataError(
            f"{path} has {len(set(ids))} different ids and {len(names)} names for genres of shape {genres.shape}. "
            "Get the whole file."
        )
    films = GatheredFilms[tuple[str, ...]](path)
    for film_id, has, overview in zip(ids, genres, overviews, strict=True):
        films.add(film_id, genres=tuple(compress(names, has)), overview=overview)
    if not words:
        films.notes.append(f"There is no metadata.npy next to {path.name}: its films have no overviews.")
    return films.table(
        "MM-IMDb's HDF5 file",
        tuple,
        names,
        poster_paths=PosterPaths(posters / f"{film_id}.png" for film_id in ids),
        root=posters,
        split=split,
    )


def _open(path: Path) -> Any:
    import h5py

    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise FilmDataError(f"{path} cannot be opened as HDF5 ({str(error)[:100]}). Get the whole file.") from error


def _text(value: Any) -> str:
    text = value.decode() if isinstance(value, bytes) else str(value)
    if not text.isalnum():  # it becomes a file name
        raise ValueError(f"the id {text!r} has characters other than letters and digits")
    return text


def _split(file: Any, ids: Sequence[str]) -> dict[str, list[str]] | None:
    if "split" not in file.attrs:
        return None
    found = {}
    for row in file.attrs["split"]:  # Fuel's split array: a row per part and dataset
        part, source = (v.decode() if isinstance(v, bytes) else str(v) for v in (row["split"], row["source"]))
        if source == "genres" and part in PARTS:
            found[PARTS[part]] = list(ids[int(row["start"]) : int(row["stop"])])
    return found or None


def _posters(path: Path, ids: Sequence[str], images: Any) -> Path:
    status = path.stat()
    # Also ctime: a file may be replaced by another of the same size and time of modification.
    changed = max(status.st_mtime_ns, status.st_ctime_ns)
    key = hashlib.sha256(repr((str(path.resolve()), status.st_size, changed)).encode()).hexdigest()
    pictures = ((f"{film_id}.png", _png(images[i])) for i, film_id in enumerate(ids))
    return unpacked_posters("mmimdb", key[:32], pictures, len(ids))


def _png(image: npt.NDArray[np.integer]) -> bytes:
    pixels = np.round(np.asarray(image, np.float32).transpose(1, 2, 0) + _MEANS)
    return encoded_picture(np.clip(pixels[..., ::-1], 0, 255).astype(np.uint8), "PNG", compress_level=1)


def _words(path: Path) -> dict[int, str]:
    """{number: word} from ``metadata.npy``, a pickled dict: only NumPy arrays and plain values are unpickled."""
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        try:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            loaded = _Unpickler(io.BytesIO(file.read()), encoding="latin-1").load()
            loaded = loaded.item() if isinstance(loaded, np.ndarray) else loaded
            return {int(number): str(word) for number, word in loaded["ix_to_word"].items()}
        except Exception as error:  # a pickle can raise anything
            raise FilmDataError(
                f"{path} is not MM-IMDb's metadata.npy ({error}). Delete it to read the films without overviews."
            ) from error


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name in ("_reconstruct", "scalar"):
            return super().find_class("numpy._core.multiarray", name)
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"it contains {module}.{name}, which is not data")


MMIMDB_HDF5 = Layout(
    FILE_NAME,
    "(MM-IMDb) with metadata.npy",
    ARRAYS,
    read,
    exact=True,
    kinds=(".hdf5",),
    in_parts=False,
)
