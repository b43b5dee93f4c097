"""The folder of a run, ``<root>/<name>/version_<n>``, and the small files in it that describe the run."""

from __future__ import annotations

import datetime
import json
import logging
import math
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from kgenre.checkpoints import leftovers, remove_leftovers, run_folders
from kgenre.checkpoints.files import whole_file
from kgenre.engines.devices import computing_devices, with_name
from kgenre.training.errors import TrainerError
from kgenre.training.run_lock import RunLock

_log = logging.getLogger("kgenre")
_PACKAGES = ("kgenre", "keras", "tensorflow", "jax", "jaxlib", "torch", "numpy", "tensorboard", "scikit-learn")


def new_run_folder(experiment: Path) -> Path:
    """Create and return the next ``version_<n>`` of an experiment (``<root>/<name>``); two runs never get the same one.

    Raises:
        TrainerError: the folder cannot be created.
    """
    try:
        return _make_run_folder(experiment)
    except OSError as error:
        raise TrainerError(
            f"The run's folder cannot be created in {experiment} ({error.strerror}). Set a writable default_root_dir "
            "(or save_dir of a logger)."
        ) from error


def _make_run_folder(experiment: Path) -> Path:
    known = run_folders(experiment)
    version = int(known[-1].name[8:]) + 1 if known else 0
    while True:
        experiment.mkdir(parents=True, exist_ok=True)
        folder = experiment / f"version_{version}"
        try:
            folder.mkdir()
        except FileExistsError:  # another run started at the same moment
            version += 1
        except FileNotFoundError:  # a failed run removed its folders at the same moment
            continue
        else:
            return folder


def tidy_runs(experiment: Path) -> None:
    """Remove what killed runs left next to their checkpoints, except from runs that are being written now."""
    for run in run_folders(experiment):
        folder = run / "checkpoints"
        if leftovers(folder):
            try:
                lock = RunLock(run)
            except (TrainerError, OSError):  # it is being written, or this process may not write there
                continue
            remove_leftovers(folder)
            lock.release()


def write_environment(folder: Path, devices: Sequence[str] = (), **chosen: Any) -> None:
    """Write ``environment.json``: backend, devices, versions of packages, platform, git commit, time, and choices.

    After a resume under another backend, ``backends`` lists all of them in the order of their use.
    """
    path, content = folder / "environment.json", environment(devices) | chosen
    if (earlier := _backends(path)) and earlier != [content["backend"]]:
        content["backends"] = earlier + [content["backend"]] * (content["backend"] != earlier[-1])
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _backends(path: Path) -> list[str]:
    """The backends in an ``environment.json``; [] if there is no such file, or it is damaged."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return list(known.get("backends", [known["backend"]]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def environment(devices: Sequence[str] = ()) -> dict[str, Any]:
    """What a result depends on besides its configuration; ``devices`` are those chosen for the run."""
    import keras

    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "backend": keras.backend.backend(),
        "devices": [with_name(device) for device in computing_devices(devices)],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "versions": {name: _version_number(name) for name in _PACKAGES},
        "git_commit": _git_commit(),
    }


def read_metrics(folder: Path) -> dict[str, Any]:
    """Return what ``metrics.json`` holds; {} if it is missing, or damaged, which a warning reports."""
    path = folder / "metrics.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as error:
        _log.warning("%s is damaged (%s): its contents are lost, and it is written from scratch.", path, error)
        return {}


def update_metrics(folder: Path, metrics: Mapping[str, float | str]) -> None:
    """Merge final metrics, and the name of the checkpoint that was evaluated, into ``metrics.json``.

    Entries from before are kept, but validation metrics replace all those of earlier validations, and test metrics all
    those of an earlier test.
    """
    path, known = folder / "metrics.json", read_metrics(folder)
    for stage in ("val/", "test/"):
        if any(name.startswith(stage) for name in metrics):  # the earlier evaluation may have used other data
            known = {name: value for name, value in known.items() if not name.startswith(stage)}
    # JSON has no NaN: a value that is not a number is written as null.
    known |= {name: v if isinstance(v, str) or math.isfinite(v) else None for name, v in metrics.items()}
    with whole_file(path) as partial:
        partial.write_text(json.dumps(dict(sorted(known.items())), indent=2) + "\n", encoding="utf-8")


@cache
def _version_number(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@cache  # a checkpoint should not wait for git, and the running code had been imported at the first call
def _git_commit() -> str | None:
    """The commit of the working directory, with "+changes" if there are uncommitted ones; None outside git."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        changes = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ("+changes" if changes.stdout.strip() else "")
