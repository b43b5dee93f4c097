"""Unpack the posters in one large file once, into separate files in the cache."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from kgenre.checkpoints.files import move
from kgenre.data.errors import FilmDataError
from kgenre.data.progress_line import ProgressLine
from kgenre.engines.cache_folder import cache_folder, keep_most_recent, mark_used, staging_folder

_MOST = 8  # folders per layout in the cache


def unpacked_posters(kind: str, key: str, posters: Iterable[tuple[str, bytes]], total: int) -> Path:
    """The folder ``$KGENRE_CACHE/<kind>/<key>`` with all posters in it, which appears only when it is complete.

    Of each layout, the most recently used folders are kept.

    Args:
        kind: the layout that has the posters.
        key: identifies the posters, such as a hash of the file that they are unpacked from.
        posters: (file name, contents) pairs; not iterated if an earlier run has unpacked them.
        total: the most that there may be, for the progress bar.

    Raises:
        FilmDataError: the cache cannot be written.
    """
    folder = cache_folder() / kind / key
    if os.path.isdir(folder):  # `Path.is_dir` raises an error in a home that this user may not enter
        mark_used(folder)
        return folder
    try:
        with staging_folder(folder.parent) as unpacking, ProgressLine("Unpacking posters") as progress:
            made = unpacking / folder.name
            made.mkdir()
            for done, (name, data) in enumerate(posters):
                progress(done, total)
                (made / name).write_bytes(data)
            move(made, folder)
        keep_most_recent(folder.parent, _MOST)
    except OSError as error:
        if not os.path.isdir(folder):  # else another process was faster
            raise FilmDataError(
                f"Posters cannot be unpacked to {folder}: {error.strerror}. Set KGENRE_CACHE to one with free space."
            ) from error
    return folder
