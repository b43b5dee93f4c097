"""Write a checkpoint atomically: to a temporary folder, which is synced and then renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kgenre.checkpoints.checkpoint import FILES, REQUIRED, Checkpoint, CheckpointError
from kgenre.checkpoints.files import move, naming, read_file, sync_file, sync_folder, write_synced
from kgenre.checkpoints.migrations import SCHEMA
from kgenre.checkpoints.read import read_manifest
from kgenre.checkpoints.removal import remove_in_background, wait_for_removals


def write_checkpoint(checkpoint: Checkpoint, path: str | os.PathLike[str]) -> Path:
    """Write a checkpoint folder at ``path``, replacing one that is there.

    Raises:
        FileExistsError: something other than a checkpoint is there.
        OSError: the disk is full or the folder cannot be written; what was at ``path`` is untouched.
    """
    path = Path(os.path.expanduser(path))
    _refuse_to_replace(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with naming(path):
            partial.mkdir()
            # Each file is hashed and synced while the next one is written; concurrent syncs share one commit of the
            # file system's journal.
            with ThreadPoolExecutor(10, "checkpoint") as pool:
                digests, synced = {}, []
                for name in (*REQUIRED, "epoch.safetensors"):
                    _write_file(checkpoint, partial / name)
                    digests[name] = pool.submit(_digest, partial / name)
                    synced.append(pool.submit(sync_file, partial / name))
                files = {
                    name: {"bytes": (partial / name).stat().st_size, "sha256": digest.result()}
                    for name, digest in digests.items()
                }
                manifest = {"schema": SCHEMA, "time": _time_after_last(path.parent), "files": files}
                write_synced(partial / "manifest.json", json.dumps(manifest, indent=1).encode())
                for name in files:  # safetensors lets nobody but the owner read its files, whatever the umask
                    shutil.copymode(partial / "manifest.json", partial / name)
                for done in synced:
                    done.result()
            sync_folder(partial)
            _put_in_place(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


def _refuse_to_replace(path: Path) -> None:
    """Refuse a path that holds something else, named by mistake; remains of a checkpoint may be replaced."""
    names = {inside.name for inside in path.iterdir()} if path.is_dir() else {"a file"} if path.exists() else set()
    if not (names <= {*FILES, "epoch.safetensors"} or names >= {"manifest.json", "weights.safetensors"}):
        raise FileExistsError(
            errno.EEXIST,
            "Something other than a checkpoint is there, so nothing is written. Pass another path",
            str(path),
        )


def _time_after_last(folder: Path) -> float:
    """Return the time in seconds since 1970; if the clock was set back, just after the folder's last checkpoint.

    The times decide which checkpoint is the newest, from which a run is resumed.
    """
    try:
        name = read_file(folder / "last", limit=1024).decode().strip()
        return max(time.time(), float(read_manifest(folder / name)["time"]) + 1e-3)
    except (OSError, CheckpointError, KeyError, TypeError, ValueError):  # there is no last one, or it cannot be read
        return time.time()


def _write_file(checkpoint: Checkpoint, path: Path) -> None:
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    if path.name == "state.json":
        path.write_text(checkpoint.state_as_json(), encoding="utf-8")
        return
    # `ascontiguousarray` turns a scalar array into one of shape (1,).
    arrays = {n: np.ascontiguousarray(a).reshape(a.shape) for n, a in getattr(checkpoint, path.stem).items()}
    try:  # straight from the arrays' memory
        save_file(arrays, path)
    except SafetensorError as error:  # raised for a full disk, for example
        code = re.search(r"os error (\d+)", str(error))
        number = int(code[1]) if code else errno.EIO
        raise OSError(number, os.strerror(number) if code else str(error), str(path)) from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _put_in_place(partial: Path, path: Path) -> None:
    replaced = path.with_name(f".{path.name}.{os.getpid()}.replaced")
    wait_for_removals()
    if path.exists():
        shutil.rmtree(replaced, ignore_errors=True)  # of a killed process with the same id, as containers have
        move(path, replaced)
    move(partial, path)
    sync_folder(path.parent)
    if replaced.exists():
        remove_in_background(replaced)
