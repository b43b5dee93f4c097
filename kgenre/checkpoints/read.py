"""Read checkpoints: every file is checked against the manifest before it is trusted."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgenre.checkpoints.checkpoint import REQUIRED, Checkpoint, CheckpointError
from kgenre.checkpoints.files import UnsafeFileError, read_file
from kgenre.checkpoints.migrations import MIGRATIONS, SCHEMA, migrate

if TYPE_CHECKING:
    import numpy as np

_LARGEST_JSON = {"manifest.json": 2**20, "state.json": 2**28}  # bytes


def read_checkpoint(path: str | os.PathLike[str], weights_only: bool = False) -> Checkpoint:
    """Read a checkpoint folder after checking every file against the manifest.

    Args:
        path: the folder.
        weights_only: leave out the arrays of the optimizer and the epoch.

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
    """Read only the state of a checkpoint folder, verified: cheap, as no arrays are read.

    Raises:
        CheckpointError: as in `read_checkpoint`.
    """
    path = Path(path)
    manifest = read_manifest(path)
    content = _verified(path, "state.json", manifest["files"]["state.json"])
    checkpoint = Checkpoint({}, state=_state(path, content), path=path)
    migrate(checkpoint, manifest["schema"])
    return checkpoint.state


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of a checkpoint folder: "schema", "time" and, by name, the known "files".

    Raises:
        CheckpointError: there is none, it cannot be read, or a later version wrote it.
    """
    try:
        manifest = json.loads(read_file(path / "manifest.json", limit=_LARGEST_JSON["manifest.json"]))
        schema = int(manifest["schema"])
        known = [*REQUIRED, *(["epoch.safetensors"] if schema > 1 else [])]
        if schema <= SCHEMA:
            manifest["files"] = {name: _entry(manifest["files"][name]) for name in known}
    except FileNotFoundError:
        raise CheckpointError(f"{path} is not a checkpoint: it has no manifest.json.") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}/manifest.json cannot be read: {error}") from error
    if schema > SCHEMA:
        raise CheckpointError(
            f"{path} was written by a newer kgenre (schema {schema}, this one reads at most {SCHEMA}): update kgenre."
        )
    if schema != SCHEMA and schema not in MIGRATIONS:
        raise CheckpointError(f"{path} is damaged: its manifest.json has schema {schema}, which no kgenre writes.")
    return manifest


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    size, digest = entry["bytes"], entry["sha256"]
    if not isinstance(size, int) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError(f"invalid entry {entry}")
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
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise CheckpointError(f"Checkpoint {path} is damaged: {name} is not the file that was written (sha256).")
    return content


def _arrays(path: Path, name: str, content: bytes) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"Checkpoint {path} is damaged: {name} has no valid arrays ({error}).") from error


def _state(path: Path, content: bytes) -> dict[str, Any]:
    try:
        state = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"Checkpoint {path} is damaged: state.json is not valid JSON ({error}).") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"Checkpoint {path} is damaged: state.json is not a JSON object.")
    return state
