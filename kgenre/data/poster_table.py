"""Tables of decoded posters: in memory, in a memory-mapped file that outlives the run, or nowhere (streamed)."""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from kgenre.data.errors import FilmDataError
from kgenre.data.film_table import FilmTable
from kgenre.data.packed_columns import ExaminedPosters
from kgenre.data.poster_decoding import Decoded, OnProgress, decode_posters
from kgenre.data.poster_files import DAMAGED
from kgenre.data.poster_resizing import Pixels
from kgenre.engines.cache_folder import cache_folder, keep_most_recent, mark_used, staging_folder

PLACES = ("auto", "memory", "disk", "stream")
_VERSION = 4  # raise it when the same file and settings yield other pixels
_MOST_TABLES = 4  # on disk
_MEMORY_SHARE = 4  # at most a quarter of the free memory
_DISK_SHARE = 2
_WORTH_KEEPING = 100_000_000  # bytes: 8,000 posters of 64 x 64, decoded by one core in three seconds
_PLENTY_OF_DISK = 20
_CONTAINER_MEMORY = (  # the limit and what is used, of control groups version 2 and 1
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
_log = logging.getLogger("kgenre")


def poster_table(
    table: FilmTable,
    files: ExaminedPosters,
    image_size: tuple[int, int],
    resize: str = "squash",
    place: str = "auto",
    on_progress: OnProgress | None = None,
) -> tuple[Pixels | None, list[str]]:
    """Decode the posters of all films, or load what an earlier run decoded.

    Args:
        table: n films.
        files: what `examine_posters` returned for their posters.
        image_size: (height, width) in pixels.
        resize: see `decode_posters`.
        place: "memory"; "disk", a file in ``$KGENRE_CACHE/posters`` named by a hash of all posters and the settings
            (only the most recently used ones are kept); "stream", which decodes nothing here; or "auto": the file if it
            exists, or if it has 100 MB or more and takes at most a twentieth of the free disk space; else memory, up to
            a quarter of the free memory; else the file, up to half of the free disk space; else "stream".
        on_progress: called with (posters read, all posters) now and then.

    Returns:
        uint8 (n, height, width, 3), zeros where a poster is bad, or None if they are streamed; and for each film the
        reason why its poster is bad, "" if no problem is known.

    Raises:
        FilmDataError: there is not enough memory.
    """
    shape = (len(table), *image_size, 3)
    file = cache_folder() / "posters" / f"{poster_key(files, image_size, resize)}.npy"
    decode = partial(decode_posters, table.poster_paths.texts, files, image_size, resize, on_progress=on_progress)
    if place == "auto":
        place = _choose(_size_of(shape), file)
    if place == "disk":
        try:
            pixels, found = _on_disk(file, shape, decode, files.reasons)
            # Files that could not be read do not affect the key: take their reasons from this run, not from the file.
            return pixels, [reason or found.get(str(i), "") for i, reason in enumerate(files.reasons)]
        except OSError as error:  # such as a full disk, or posters on a disk that was removed
            place = "memory" if _size_of(shape) * _MEMORY_SHARE <= free_memory() else "stream"
            _log.warning(
                "Decoded posters (%s) cannot be kept in %s: %s. They are %s instead.",
                _megabytes(shape),
                file.parent,
                error.strerror or error,
                "held in memory" if place == "memory" else "decoded again for each batch",
            )
    if place == "stream":
        return None, files.reasons
    try:
        pixels = aligned_zeros(shape)
    except OSError as error:
        raise FilmDataError(
            f"Decoded posters take {_megabytes(shape)}, more than the free memory. Set a smaller --data.image_size, "
            "or --data.poster_table auto, disk or stream."
        ) from error
    return pixels, [reason for some in decode(out=pixels) for reason in some.reasons]


def aligned_zeros(shape: tuple[int, ...]) -> Pixels:
    """Return uint8 zeros that start at a memory page, so that TensorFlow uses them without a copy."""
    # Not np.zeros, which requests pages of 2 MB: the host of a virtual machine reclaims free pages of that size, and
    # getting them back took five times as long as using small pages, which the machine still has.
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    size = _size_of(shape)
    return np.frombuffer(mmap.mmap(-1, max(1, size), **private), np.uint8, size).reshape(shape)


def free_memory() -> int:
    """Return the bytes available without swapping, within the limit of a container.

    Where that is unknown (macOS), the machine's total memory; a large number where that is unknown too (Windows).
    """
    free = 1 << 40
    with suppress(AttributeError, OSError, ValueError):
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        # WSL 1 and old kernels have no such line.
        free = next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable")), free)
    for limit, used in _CONTAINER_MEMORY:
        with suppress(OSError, ValueError):  # not in such a container, or its limit is "max"
            free = min(free, int(limit.read_text(encoding="utf-8")) - int(used.read_text(encoding="utf-8")))
    return free


def _choose(size: int, file: Path) -> str:
    if os.path.exists(file):  # `Path.exists` raises an error in a home that this user may not enter
        return "disk"
    parent = next(p for p in file.parents if os.path.exists(p))
    free = shutil.disk_usage(parent).free
    if size >= _WORTH_KEEPING and size * _PLENTY_OF_DISK <= free:
        return "disk"
    if size * _MEMORY_SHARE <= free_memory():
        return "memory"
    return "disk" if size * _DISK_SHARE <= free else "stream"


def _on_disk(
    file: Path, shape: tuple[int, ...], decode: Callable[[], Iterator[Decoded]], known: Sequence[str]
) -> tuple[Pixels, dict[str, str]]:
    """Return the posters, and by position why some are bad; decode them if the file does not exist.

    Raises:
        OSError: the file cannot be written, or a poster without a ``known`` reason could not be read: the next run may
            read it, so the table must not be kept.
    """
    reasons_file = file.with_suffix(".json")
    found = _read(file, reasons_file, shape)
    if found is None:
        with staging_folder(file.parent) as making:
            made = making / file.name
            reasons = _write(made, shape, decode())
            unread = [why for i, why in reasons.items() if not (known[int(i)] or why.startswith(DAMAGED))]
            if unread:
                raise OSError(f"{len(unread):,} of the posters could not be read ({unread[0]})")
            made.with_suffix(".json").write_text(json.dumps(reasons), encoding="utf-8")
            made.with_suffix(".json").replace(reasons_file)
            made.replace(file)
        keep_most_recent(file.parent, 2 * _MOST_TABLES)
        _log.info("Decoded posters are kept in %s (%s).", file, _megabytes(shape))
        found = _read(file, reasons_file, shape)
        if found is None:
            raise OSError(f"{file} was damaged while it was written")
    mark_used(reasons_file)
    mark_used(file)
    return found


def _read(file: Path, reasons_file: Path, shape: tuple[int, ...]) -> tuple[Pixels, dict[str, str]] | None:
    """Load a stored table; None if it does not exist or is damaged."""
    try:
        reasons = json.loads(reasons_file.read_text(encoding="utf-8"))
        # "c" (copy-on-write): nothing writes to it, but TensorFlow does not share the memory of read-only arrays.
        pixels = np.load(file, mmap_mode="c")
    except (FileNotFoundError, EOFError, ValueError):
        return None
    return (
        (pixels, reasons) if isinstance(reasons, dict) and (pixels.shape, pixels.dtype) == (shape, np.uint8) else None
    )


def _write(file: Path, shape: tuple[int, ...], posters: Iterator[Decoded]) -> dict[str, str]:
    # Written, not memory-mapped: on a full disk a write raises an error, a mapped page kills the process.
    reasons: dict[str, str] = {}
    with file.open("wb") as out:
        np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for found in posters:
            out.write(found.pixels.data)
            reasons |= {str(i): reason for i, reason in zip(found.positions, found.reasons, strict=True) if reason}
        out.flush()
        os.fsync(out.fileno())
    return reasons


def poster_key(files: ExaminedPosters, image_size: tuple[int, int], resize: str) -> str:
    """Return 32 hexadecimal digits that identify a table of posters by the files' contents and the settings."""
    key = hashlib.sha256(repr((_VERSION, image_size, resize, len(files))).encode())
    key.update(files.sha256.tobytes())  # zeros where a file was not read
    return key.hexdigest()[:32]


def _size_of(shape: Sequence[int]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _megabytes(shape: Sequence[int]) -> str:
    return f"{_size_of(shape) / 1e6:,.0f} MB"
