"""A checkpoint on disk: a folder of arrays and JSON, the same on every backend, whole or not there at all.

``step=001240/`` holds ``weights.safetensors``, ``optimizer.safetensors`` and ``epoch.safetensors`` (arrays under
structural names; the last what an epoch has added up so far), ``state.json`` (counters, logs, callbacks,
hyperparameters, data) and ``manifest.json`` (schema, time, size and sha256 of the others). It is written beside its
place, synced to the disk and renamed, so a crash leaves the old state or the new, never a mixture.
Nothing in it can run code: no pickle, no Keras archives.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgenre.checkpoints.files import UnsafeFileError, move, read_file, sync_file, sync_folder, write_synced
from kgenre.checkpoints.migrations import MIGRATIONS, SCHEMA, migrate
from kgenre.checkpoints.removal import remove_in_background, wait_for_removals
from kgenre.users_code import ShortTraceback

if TYPE_CHECKING:
    import numpy as np

_REQUIRED = ("weights.safetensors", "optimizer.safetensors", "state.json")
FILES = (*_REQUIRED, "manifest.json")
_LARGEST_JSON = {"manifest.json": 2**20, "state.json": 2**28}  # bytes


class CheckpointError(ShortTraceback, ValueError):
    """A checkpoint is missing, damaged or of another model; the message names it."""


@dataclass
class Checkpoint:
    """A checkpoint's content.

    Args:
        weights: NumPy arrays of the module's variables by structural name, "model.layers.0.kernel".
        optimizer: likewise of the optimizers' variables; {} where it holds weights only.
        state: counters, callbacks, hyperparameters and the rest as JSON values.
        path: the folder that it was read from.
        epoch: what an epoch that is not over has added up (see `Engine.epoch_state`).
    """

    weights: dict[str, np.ndarray]
    optimizer: dict[str, np.ndarray] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    epoch: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Weights and optimizer state together."""
        return self.weights | self.optimizer

    def copy(self) -> Checkpoint:
        """One that nothing else can change: to be written while training goes on."""
        import numpy as np

        parts = (self.weights, self.optimizer, self.epoch)
        # Copies: an array may look into memory that the next step writes to.
        weights, optimizer, epoch = ({name: np.array(a) for name, a in part.items()} for part in parts)
        return Checkpoint(weights, optimizer, json.loads(json.dumps(self.state)), self.path, epoch)


def write_checkpoint(checkpoint: Checkpoint, path: str | os.PathLike[str]) -> Path:
    """Write a checkpoint folder at ``path``, replacing one that is there.

    Raises:
        OSError: the disk is full or the folder cannot be written; what was at ``path`` is untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        files: dict[str, dict[str, Any]] = {}
        # Hashed, and brought to the disk, while the next one is written; what is synced side by side is one commit of
        # the file system's journal, not one each.
        with ThreadPoolExecutor(10, "checkpoint") as beside:
            digests, synced = {}, []
            for name in (*_REQUIRED, "epoch.safetensors"):
                _write_file(checkpoint, partial / name)
                digests[name] = beside.submit(_digest, partial / name)
                synced.append(beside.submit(sync_file, partial / name))
            for name, digest in digests.items():
                files[name] = {"bytes": (partial / name).stat().st_size, "sha256": digest.result()}
            manifest = {"schema": SCHEMA, "time": _time_after_last(path.parent), "files": files}
            write_synced(partial / "manifest.json", json.dumps(manifest, indent=1).encode())
            for done in synced:
                done.result()
        sync_folder(partial)
        _put_in_place(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


def read_checkpoint(path: str | os.PathLike[str], weights_only: bool = False) -> Checkpoint:
    """Read a checkpoint folder after checking every file against the manifest.

    Args:
        path: the folder.
        weights_only: leave the optimizer's arrays and those of the epoch out.

    Raises:
        CheckpointError: not a checkpoint, damaged, or written by a later version.

    Example:
        >>> checkpoint = read_checkpoint(find_checkpoint("runs/quickstart/version_0"))
        >>> checkpoint.state["global_step"]
        126
    """
    path = Path(path)
    manifest = read_manifest(path)
    contents = {name: _verified(path, name, entry) for name, entry in manifest["files"].items()}
    arrays = {name: _arrays(path, name, content) for name, content in contents.items() if name.endswith("tensors")}
    checkpoint = Checkpoint(arrays["weights.safetensors"], state=_state(path, contents["state.json"]), path=path)
    if not weights_only:
        checkpoint.optimizer = arrays["optimizer.safetensors"]
        checkpoint.epoch = arrays.get("epoch.safetensors", {})
    migrate(checkpoint, manifest["schema"])
    return checkpoint


def read_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Only the state of a checkpoint folder, verified: cheap, no arrays.

    Raises:
        CheckpointError: as `read_checkpoint`.
    """
    path = Path(path)
    manifest = read_manifest(path)
    content = _verified(path, "state.json", manifest["files"]["state.json"])
    checkpoint = Checkpoint({}, state=_state(path, content), path=path)
    migrate(checkpoint, manifest["schema"])
    return checkpoint.state


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a checkpoint folder: "schema", "time" and, by name, the known "files".

    Raises:
        CheckpointError: there is none, it cannot be read, or a later version wrote it.
    """
    try:
        manifest = json.loads(read_file(path / "manifest.json", limit=_LARGEST_JSON["manifest.json"]))
        schema = int(manifest["schema"])
        known = [*_REQUIRED, *(["epoch.safetensors"] if schema > 1 else [])]
        if schema <= SCHEMA:
            manifest["files"] = {name: _entry(manifest["files"][name]) for name in known}
    except FileNotFoundError:
        raise CheckpointError(f"{path} is not a checkpoint: it has no manifest.json.") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}/manifest.json cannot be read: {error}") from error
    if schema > SCHEMA:
        raise CheckpointError(f"{path} has schema {schema}, this version of kgenre reads {SCHEMA}: update kgenre.")
    if schema != SCHEMA and schema not in MIGRATIONS:
        raise CheckpointError(f"{path} has schema {schema}, which this version of kgenre does not know.")
    return manifest


def check_weights(named: Mapping[str, Any], checkpoint: Checkpoint, what: str) -> None:
    """Check that a checkpoint's weights are those of a module: same names, same shapes.

    Raises:
        CheckpointError: with the first differences.
    """
    missing = [name for name in named if name not in checkpoint.weights]
    foreign = [name for name in checkpoint.weights if name not in named]
    shapes = [
        f"{name} is {tuple(checkpoint.weights[name].shape)} there and {tuple(variable.shape)} here"
        for name, variable in named.items()
        if name in checkpoint.weights and tuple(checkpoint.weights[name].shape) != tuple(variable.shape)
    ]
    problems = [
        *(f"{name} is not in the checkpoint" for name in missing),
        *(f"{name} is not in the model" for name in foreign),
        *shapes,
    ]
    if problems:
        more = f" (and {len(problems) - 2} more differences)" if len(problems) > 2 else ""
        raise CheckpointError(f"Checkpoint {checkpoint.path} is of another {what}: {'; '.join(problems[:2])}{more}.")


# --- files ------------------------------------------------------------------------------------------------------


def _time_after_last(folder: Path) -> float:
    """Now, in seconds since 1970; where the clock was set back, a moment after the folder's last checkpoint.

    By their times it is decided which one is the newest, from which a run goes on.
    """
    try:
        name = read_file(folder / "last", limit=1024).decode().strip()
        return max(time.time(), float(read_manifest(folder / name)["time"]) + 1e-3)
    except (OSError, CheckpointError, KeyError, TypeError, ValueError):  # it is the first one
        return time.time()


def _write_file(checkpoint: Checkpoint, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    if path.name == "state.json":
        path.write_text(json.dumps(checkpoint.state, indent=1), encoding="utf-8")
        return
    try:  # straight from the arrays' memory
        save_file(_contiguous(getattr(checkpoint, path.stem)), path)
    except SafetensorError as error:  # the library's word for a full disk
        code = re.search(r"os error (\d+)", str(error))
        number = int(code[1]) if code else errno.EIO
        raise OSError(number, os.strerror(number) if code else str(error), str(path)) from error


def _contiguous(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    import numpy as np

    return {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    size, digest = entry["bytes"], entry["sha256"]
    if not isinstance(size, int) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError(f"an entry is {entry}")
    return {"bytes": size, "sha256": digest}


def _verified(path: Path, name: str, entry: Mapping[str, Any]) -> bytes:
    try:
        content = read_file(path / name, size=entry["bytes"], limit=_LARGEST_JSON.get(name))
    except FileNotFoundError:
        raise CheckpointError(f"Checkpoint {path} is damaged: {name} is missing.") from None
    except UnsafeFileError as error:
        raise CheckpointError(f"Checkpoint {path} is damaged: {name} {error}.") from None
    except OSError as error:
        raise CheckpointError(f"Checkpoint {path} is damaged: {name} cannot be read ({error.strerror}).") from error
    if _sha256(content) != entry["sha256"]:
        raise CheckpointError(f"Checkpoint {path} is damaged: {name} does not match its sha256.")
    return content


def _arrays(path: Path, name: str, content: bytes) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"Checkpoint {path} is damaged: {name} holds no arrays ({error}).") from error


def _state(path: Path, content: bytes) -> dict[str, Any]:
    try:
        state = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"Checkpoint {path} is damaged: state.json is not JSON ({error}).") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"Checkpoint {path} is damaged: state.json holds no object.")
    return state


def _put_in_place(partial: Path, path: Path) -> None:
    replaced = path.with_name(f".{path.name}.{os.getpid()}.replaced")
    wait_for_removals()
    if path.exists():
        move(path, replaced)
    move(partial, path)
    sync_folder(path.parent)
    if replaced.exists():
        remove_in_background(replaced)


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint folder, in the background: under its name it is there whole or not at all."""
    hidden = path.with_name(f".{path.name}.{os.getpid()}.removed")
    wait_for_removals()
    try:
        move(path, hidden)
    except FileNotFoundError:
        return
    remove_in_background(hidden)
