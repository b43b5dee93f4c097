"""Posters that lie inside of one large file, unpacked once into the cache as files of their own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kgenre.checkpoints.files import move
from kgenre.data.errors import FilmDataError
from kgenre.engines.cache_folder import cache_folder, in_the_making, leave_last_used, note_use

_MOST = 8  # folders of a layout in the cache


def unpacked_posters(kind: str, key: str, posters: Iterable[tuple[str, bytes]]) -> Path:
    """The folder ``$KGENRE_CACHE/<kind>/<key>`` with all posters in it; it appears when it is complete.

    Of a layout's folders those used last stay.

    Args:
        kind: the layout that they come in.
        key: the same for the same posters alone, such as a hash of what they are unpacked from.
        posters: (file name, contents); not begun where the folder is there from an earlier run.

    Raises:
        FilmDataError: the cache cannot be written.
    """
    folder = cache_folder() / kind / key
    if folder.is_dir():
        note_use(folder)
        return folder
    try:
        with in_the_making(folder.parent) as unpacking:
            made = unpacking / folder.name
            made.mkdir()
            for name, data in posters:
                (made / name).write_bytes(data)
            move(made, folder)
        leave_last_used(folder.parent, _MOST)
    except OSError as error:
        if not folder.is_dir():  # else another process was faster
            raise FilmDataError(
                f"Posters cannot be unpacked to {folder}: {error.strerror}. Set KGENRE_CACHE to a folder with room."
            ) from error
    return folder
