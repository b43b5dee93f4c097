"""Reads tested runs from their folders, and checks that they can be compared."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from kgenre.evaluation.film_predictions import read_predictions
from kgenre.quoted_path import quoted_path
from kgenre.reports.run import ReportError, Run


def read_runs(
    folders: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], data_path: str | None = None
) -> list[Run]:
    """Read one or more runs and check that they can be compared: the same genres, the same split.

    ``data_path`` is the current location of their films, if these have moved since training.

    Raises:
        ReportError: no folder is given, or a folder is not a run, was not tested, was trained on another split or
            other genres, or its films had other genres when it was tested.
    """
    folders = [folders] if folders is None or isinstance(folders, str | os.PathLike) else list(folders)
    if not folders:
        raise ReportError("Received no folders: give at least one run's, such as runs/quickstart/version_0.")
    if any(folder is None for folder in folders):
        raise ReportError("Received None for a run's folder: trainer.run_dir is None before a fit that writes a run.")
    paths = [_run_folder(Path(folder)) for folder in folders]
    if len({path.resolve() for path in paths}) < len(paths):
        raise ReportError("The same run is given twice.")
    around = [_trained_in(path) for path in paths]
    names = _short_names(around if len(set(around)) == len(around) else paths)
    runs = [_read(path, name) for path, name in zip(paths, names, strict=True)]
    for run in runs if data_path is not None else ():
        run.config["data"] = run.config.get("data", {}) | {"init_args": run.arguments("data") | {"path": data_path}}
    for first, second in combinations(runs, 2):
        _check_comparable(first, second)
    return runs


def _check_comparable(first: Run, run: Run) -> None:
    """Reject runs with other genres, or on other films."""
    if run.genre_names != first.genre_names:
        differing = sorted(set(run.genre_names) ^ set(first.genre_names))
        what = f"such as {differing[0]}" if differing else "in another order"
        raise ReportError(
            f"{first.folder} and {run.folder} have different genres ({what}): they cannot be compared. Train both "
            "on the same films."
        )
    if {part: set(ids) for part, ids in run.split.items()} != {p: set(ids) for p, ids in first.split.items()}:
        raise ReportError(
            f"{first.folder} and {run.folder} were trained and tested on different films: they cannot be compared. "
            "Train both with the same --data.path, --data.split_seed, --data.val_fraction and --data.test_fraction."
        )
    own, other = first.predictions, run.predictions
    rows, others = own.shared_with(other)
    if not rows:
        raise ReportError(f"{first.folder} and {run.folder} have no test film in common.")
    differs = (own.true[rows] != other.true[others]).any(axis=1)
    if differs.any():
        raise ReportError(
            f"The genres of films were changed between the tests of {first.folder} and {run.folder}, such as those "
            f"of {own.ids[rows[differs.argmax()]]}: they cannot be compared. Test both: kgenre test --ckpt_path RUN"
        )


def _run_folder(path: Path) -> Path:
    if (path / "metrics.json").is_file():
        return path
    if not path.exists():
        raise ReportError(f"{path} does not exist. Give a run's folder, such as runs/quickstart/version_0.")
    if (path / "environment.json").exists():
        raise ReportError(
            f"{path} has no results yet: its training has not ended. Once it has: "
            f"kgenre test --ckpt_path {quoted_path(path)}"
        )
    inside = sorted(p.parent for below in ("version_*", "*/version_*") for p in path.glob(f"{below}/metrics.json"))
    example = f" Did you mean {inside[-1]}?" if inside else " A run's folder is named like runs/quickstart/version_0."
    raise ReportError(f"{path} is not a run's folder: it has no metrics.json.{example}")


def _read(path: Path, name: str) -> Run:
    run = _trained_in(path)
    metrics = {k: v for k, v in read_mapping(path / "metrics.json").items() if isinstance(v, int | float)}
    if "test/loss" not in metrics or not (path / "predictions_test.csv").exists():
        if "test/loss" in metrics and "test/f1_micro" not in metrics:
            raise ReportError(
                f"{path} is not a run on films, and a report needs one. Its results are in {path / 'metrics.json'}, "
                f"its curves in kgenre tensorboard {quoted_path(path)}."
            )
        raise ReportError(f"{path} has no test results. First: kgenre test --ckpt_path {quoted_path(run)}")
    state = _state_of_checkpoint(run)
    config = read_mapping(run / "config.yaml", yaml.safe_load) or _config_of_checkpoint(state)
    if run != path:
        known = read_mapping(run / "metrics.json")
        of_fit = ("data/train_films", "data/validation_films", "val/films")
        metrics |= {name: known[name] for name in of_fit if name in known}
        own = read_mapping(path / "config.yaml", yaml.safe_load)
        config |= {part: given for part, given in own.items() if part == "data"}
    split = read_mapping(path / "split.json")
    predictions = read_predictions(path / "predictions_test.csv")
    again = f"Write both again: kgenre test --ckpt_path {quoted_path(run)}" + " --data.path FOLDER" * (run != path)
    if (rows := len(predictions.ids)) != (films := metrics.get("test/films", rows)):
        raise ReportError(
            f"{path / 'predictions_test.csv'} has {rows:,} films, but metrics.json is about {films:,.0f}. {again}"
        )
    brier = float(np.mean((predictions.prob - predictions.true) ** 2))
    if not math.isclose(metrics.get("test/brier", brier), brier, rel_tol=1e-4, abs_tol=1e-6):
        raise ReportError(
            f"{path / 'predictions_test.csv'} and metrics.json are of different tests: was the last one interrupted? "
            f"{again}"
        )
    if split.get("test") and not set(predictions.ids) & set(split["test"]):
        raise ReportError(
            f"{path} was last tested on different films than those of its split. "
            f"First: kgenre test --ckpt_path {quoted_path(path)} --data.path FILMS, with the films that it was "
            "trained on."
        )
    return Run(
        folder=path,
        trained_in=run,
        name=name,
        metrics=metrics,
        config=config,
        environment=_environment(run / "environment.json"),
        rows=_rows(run / "metrics.csv"),
        split={part: ids for part, ids in split.items() if isinstance(ids, list)},
        predictions=predictions,
        inputs=tuple((state.get("classifier") or {}).get("inputs") or ()),
    )


def _environment(path: Path) -> dict[str, Any]:
    """Read ``environment.json`` without entries that no run writes like this: it may have been edited."""
    kinds = {"backend": str, "backends": list, "devices": list, "git_commit": str, "time": str, "versions": dict}
    return {name: value for name, value in read_mapping(path).items() if isinstance(value, kinds.get(name, object))}


def _trained_in(path: Path) -> Path:
    """Return the run's own folder: ``path``, or its parent if ``path`` holds only results on other films."""
    around = path.resolve().parent
    return around if (around / "checkpoints").is_dir() and not (path / "checkpoints").is_dir() else path


def read_mapping(path: Path, load: Callable[[str], Any] = json.loads) -> dict[str, Any]:
    """Read a file of a run, JSON or the format of ``load``, as a dict without null values; {} if it does not exist.

    Raises:
        ReportError: the file cannot be read, or is not a mapping.
    """
    if not path.exists():
        return {}
    try:
        content = load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ReportError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict | None):
        raise ReportError(f"{path} cannot be read: it is not a mapping of names to values.")
    return {name: value for name, value in (content or {}).items() if value is not None}


def _state_of_checkpoint(path: Path) -> dict[str, Any]:
    """Return the state of the run's best checkpoint; {} if it has none."""
    from kgenre.checkpoints import CheckpointError, find_checkpoint, read_state

    try:
        return read_state(find_checkpoint(path))
    except CheckpointError:
        return {}


def _config_of_checkpoint(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the checkpoint holds of the config of a run started from Python, which has no ``config.yaml``."""
    if not state:
        return {}
    model, data = state.get("model") or {}, state.get("data") or {}
    return {
        "model": {"class_path": model.get("class_path", ""), "init_args": model.get("hyperparameters") or {}},
        "data": {"init_args": data.get("hyperparameters") or {}},
    }


def _rows(path: Path) -> list[dict[str, float]]:
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # a spreadsheet may have added a byte-order mark
            return [{k: float(v) for k, v in row.items() if k and v} for row in csv.DictReader(file)]
    except (OSError, ValueError, csv.Error) as error:
        raise ReportError(f"{path} cannot be read: {error}. Move it away for a report without curves.") from error


def _short_names(paths: Sequence[Path]) -> list[str]:
    """Return the experiments' names; those that occur twice are extended by parent folders until they are unique."""
    # A run folder that was renamed is a name itself.
    parts = [p.parts if p.name.startswith(("version_", "test_")) else (*p.parts, "") for p in map(Path.resolve, paths)]
    names = []
    for own in parts:
        same = [other for other in parts if other[-2] == own[-2]]
        # version_0 is left out if names are unique without it: alice/lstm and bob/lstm.
        cuts = [slice(-2 - n, end) for n in range(len(own) - 1) for end in (-1, None)]
        cut = next((c for c in cuts if len({other[c] for other in same}) == len(same)), slice(None))
        names.append("/".join(own[cut]).removesuffix("/"))
    return names
