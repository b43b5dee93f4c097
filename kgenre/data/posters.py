"""Posters as pixels: one, or those of all films of a table; a bad file is reported and never stops the others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from kgenre.data.errors import FilmDataError, check_choice, shortened_list
from kgenre.data.film_table import FilmTable, LeftOut
from kgenre.data.formats.layout_choice import ARCHIVES
from kgenre.data.poster_decoding import OnProgress, decode_posters, open_picture, shrunk
from kgenre.data.poster_examination import examine_posters
from kgenre.data.poster_files import SUFFIXES, UNREAD_SUFFIXES, examine_file, read_file
from kgenre.data.poster_resizing import RESIZE, Pixels
from kgenre.data.poster_table import poster_table

if TYPE_CHECKING:
    from PIL import Image

_SHOWN = 3  # file names
Poster: TypeAlias = "str | os.PathLike[str] | Image.Image | npt.NDArray[np.uint8]"


def read_poster(path: Poster, image_size: tuple[int, int] = (64, 64), resize: str = "squash") -> Pixels:
    """Decode one poster and resize it to ``image_size``.

    Args:
        path: a JPEG, PNG, WebP, GIF (first frame), BMP or AVIF file, whatever its name; or the picture itself, a Pillow
            image or uint8 (h, w, 3).
        image_size: (height, width) in pixels.
        resize: "squash", "letterbox" or "crop"; see `decode_posters`.

    Returns:
        uint8 (height, width, 3), red, green, blue in 0..255.

    Raises:
        FilmDataError: the file does not exist, is not a picture, is damaged, or has more than 64 MiB or 50 million
            pixels; it is something else; or an unknown ``resize``.

    Example:
        >>> read_poster("posters/tt0084058.jpg", (64, 64)).shape
        (64, 64, 3)
    """
    check_choice("resize", resize, RESIZE)
    if not isinstance(path, str | os.PathLike):
        from PIL import Image

        if isinstance(path, np.ndarray):
            is_picture, given = path.dtype == np.uint8 and path.shape[2:] == (3,), f"{path.dtype} {path.shape}"
        else:
            is_picture, given = isinstance(path, Image.Image), repr(path)[:60]
        if not is_picture:
            raise FilmDataError(
                f"A poster must be a picture file, a Pillow image or uint8 (height, width, 3). Received: {given}."
            )
        return shrunk(path, image_size, resize)
    place = os.path.expanduser(path)
    [found] = decode_posters([place], [examine_file(place)], image_size, resize)
    if found.reasons[0]:
        raise FilmDataError(f"The poster {path} cannot be used: {found.reasons[0]}.")
    return found.pixels[0]


def poster_to_show(path: Path | None) -> Image.Image | None:
    """Return a poster as a Pillow image in its original size, for display; None if it cannot be read."""
    if path is None:
        return None
    try:
        picture = open_picture(read_file(path))
        picture.load()
        return picture
    except Exception:  # decoders may raise anything on arbitrary bytes
        return None


def read_posters(
    table: FilmTable,
    image_size: tuple[int, int] = (64, 64),
    max_bad_fraction: float = 0.01,
    on_progress: OnProgress | None = None,
    resize: str = "squash",
) -> tuple[Pixels, list[LeftOut]]:
    """Decode the posters of all films, in parallel.

    Args:
        table: the films.
        image_size: (height, width) in pixels.
        max_bad_fraction: raise an error if more than this share of the films have a missing or bad poster.
        on_progress: called with (posters read, all posters) now and then.
        resize: "squash", "letterbox" or "crop"; see `decode_posters`.

    Returns:
        uint8 (n, height, width, 3), zeros where a poster is bad, and the films with a bad poster, with the reasons.

    Raises:
        FilmDataError: more than ``max_bad_fraction`` are missing or bad; or an unknown ``resize``.

    Example:
        >>> pixels, bad = read_posters(read_films("films"), (64, 64))
        >>> pixels.shape, bad
        ((120, 64, 64, 3), [])
    """
    check_choice("resize", resize, RESIZE)
    files = examine_posters(table.poster_paths, table.root)
    pixels, reasons = poster_table(table, files, image_size, resize, "memory", on_progress)
    assert pixels is not None  # only "stream" has none
    return pixels, bad_films(table, reasons, max_bad_fraction)


def bad_films(table: FilmTable, reasons: Sequence[str], max_bad_fraction: float) -> list[LeftOut]:
    """Return the films whose poster has a reason not to be used.

    Raises:
        FilmDataError: more than ``max_bad_fraction`` of the films have one.
    """
    bad = [LeftOut(film_id, reason) for film_id, reason in zip(table.ids, reasons, strict=True) if reason]
    if len(bad) / max(len(table), 1) <= max_bad_fraction:  # divided, not multiplied: 0.29 * 100 is less than 29
        return bad
    first = "; ".join(f"{film_id}: {reason}" for film_id, reason in bad[:3])
    missing = sum(not os.path.exists(path) for path in table.poster_paths.texts)
    about = "; ".join(text for text in (table.posters_found, why_missing(table)) if text)
    if missing == len(table):
        raise FilmDataError(
            f"None of the {len(table):,} films of {table.source} has a poster: {about}.\n"
            "Put the posters there, named by the films' ids, or use overviews only: --data.posters false "
            "--data.overviews true."
        )
    share = np.ceil(100 * len(bad) / len(table)) / 100
    about = f" Posters: {about}." if about else ""
    go_on = f"leave these films out: --data.max_bad_fraction {share:.2g}."
    if len(bad) == len(table):
        go_on = "use overviews only: --data.posters false --data.overviews true."
    raise FilmDataError(
        f"{len(bad):,} of {len(table):,} posters cannot be used ({missing:,} missing): {first}.{about}\n"
        f"Complete the folder, or {go_on}"
    )


def why_missing(table: FilmTable) -> str:
    """Return what was looked for, what is there instead, and whether an archive may have it; "" if none is missing.

    Example:
        >>> why_missing(read_films("archived"))
        'the folder archived/posters does not exist; posters.zip is next to the table: unpack it'
    """
    paths = table.poster_paths.texts
    missing = [path for path in paths if not os.path.exists(path)]
    if not missing:
        return ""
    said = []
    beside = _listed(table.root) if table.root is not None and table.root.is_dir() else []
    if example := next(filter(None, missing), ""):
        said.append(_instead(Path(example)))
    elif beside is None:
        said.append(f"the folder {table.root} cannot be listed")
    elif len(missing) == len(paths) and not table.posters_found:
        said.append("no picture next to the table, or in its subfolders, is named after a film")
    if archives := [name for name in beside or () if name.lower().endswith(ARCHIVES)]:
        are, them = ("is", "it") if len(archives) == 1 else ("are", "them")
        said.append(f"{shortened_list(archives, _SHOWN)} {are} next to the table: unpack {them}")
    return "; ".join(said)


def _instead(example: Path) -> str:
    if not os.path.isdir(example.parent):  # `Path.is_dir` raises an error in a folder that may not be entered
        return f"the folder {example.parent} does not exist"
    names = _listed(example.parent)
    if names is None:
        return f"the folder {example.parent} cannot be listed"
    if example.name in names:
        if os.path.islink(example):
            return f"{example} is a link to {os.readlink(example)}, which does not exist"
        return f"the files in {example.parent} cannot be opened: the folder's permissions lack x (chmod +x)"
    of_film = (name for name in names if name.startswith(f"{example.stem}."))
    if unread := next((name for name in of_film if name.lower().endswith(UNREAD_SUFFIXES)), ""):
        return f"{example.parent} has {unread}, for example, whose format is not read: save it as JPEG or PNG"
    pictures = [name for name in names if name.lower().endswith(SUFFIXES)] or names
    if not pictures:
        return f"{example.parent} is empty"
    return f"{example.parent} has {shortened_list(pictures, _SHOWN)}, but no {example.name}, for example"


def _listed(folder: Path) -> list[str] | None:
    """Return the sorted names of the visible files in a folder; None if it cannot be listed."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        return None
