"""A checkpoint on disk: a folder of arrays and JSON, the same on every backend, whole or not there at all.

``step=001240/`` holds ``weights.safetensors`` and ``optimizer.safetensors`` (arrays under structural names),
``state.json`` (counters, callbacks, hyperparameters, data) and ``manifest.json`` (schema, sha256 of the others). It is
written beside its place, synced to the disk and renamed, so a crash leaves the old state or the new, never a mixture.
Nothing in it can run code: no pickle, no Keras archives.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

SCHEMA = 1
_FILES = ("weights.safetensors", "optimizer.safetensors", "state.json")


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged or of another model; the message names it."""


@dataclass
class Checkpoint:
    """A checkpoint's content: arrays by structural name and a JSON-able state."""

    weights: dict[str, np.ndarray]
    optimizer: dict[str, np.ndarray] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Weights and optimizer state together."""
        return self.weights | self.optimizer


def write_checkpoint(checkpoint: Checkpoint, path: str | os.PathLike[str]) -> Path:
    """Write a checkpoint folder at ``path``, replacing one that is there.

    Raises:
        OSError: the disk is full or the folder cannot be written; what was at ``path`` is untouched.
    """
    from safetensors.numpy import save

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        contents = {
            "weights.safetensors": save(_contiguous(checkpoint.weights)),
            "optimizer.safetensors": save(_contiguous(checkpoint.optimizer)),
            "state.json": json.dumps(checkpoint.state, indent=1).encode(),
        }
        manifest = {
            "schema": SCHEMA,
            "files": {
                name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                for name, content in contents.items()
            },
        }
        for name, content in (*contents.items(), ("manifest.json", json.dumps(manifest, indent=1).encode())):
            write_synced(partial / name, content)
        sync_folder(partial)
        _put_in_place(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


def read_checkpoint(path: str | os.PathLike[str], weights_only: bool = False) -> Checkpoint:
    """Read a checkpoint folder after checking every file against the manifest.

    Args:
        path: the folder.
        weights_only: leave the optimizer's arrays out.

    Raises:
        CheckpointError: not a checkpoint, damaged, or written by a later version.
    """
    from safetensors.numpy import load

    path = Path(path)
    files = _manifest(path)
    contents = {name: _verified(path, name, files[name]) for name in _FILES}
    return Checkpoint(
        weights=load(contents["weights.safetensors"]),
        optimizer={} if weights_only else load(contents["optimizer.safetensors"]),
        state=json.loads(contents["state.json"]),
        path=path,
    )


def read_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Only the state of a checkpoint folder, verified: cheap, no arrays."""
    path = Path(path)
    return json.loads(_verified(path, "state.json", _manifest(path)["state.json"]))


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


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        schema, files = manifest["schema"], manifest["files"]
        sizes = {name: int(files[name]["bytes"]) for name in _FILES}
    except FileNotFoundError:
        raise CheckpointError(f"{path} is not a checkpoint: it has no manifest.json.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}/manifest.json cannot be read: {error}") from error
    if schema != SCHEMA:
        raise CheckpointError(f"{path} has schema {schema}, this version of kgenre reads {SCHEMA}: update kgenre.")
    for name, size in sizes.items():
        file = path / name
        if not file.is_file() or file.is_symlink() or file.stat().st_size != size:
            raise CheckpointError(f"Checkpoint {path} is damaged: {name} is missing or has another size.")
    return files


def _verified(path: Path, name: str, entry: Mapping[str, Any]) -> bytes:
    content = (path / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != entry.get("sha256"):
        raise CheckpointError(f"Checkpoint {path} is damaged: {name} does not match its sha256.")
    return content


def _contiguous(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    import numpy as np

    return {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    if os.name == "nt":  # Windows cannot open a folder; its renames are journalled
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_in_place(partial: Path, path: Path) -> None:
    replaced = path.with_name(f".{path.name}.{os.getpid()}.replaced")
    if path.exists():
        path.rename(replaced)
    partial.rename(path)
    sync_folder(path.parent)
    shutil.rmtree(replaced, ignore_errors=True)
