"""A finished run, read from its folder."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml

from kgenre.evaluation.film_predictions import FilmPredictions, read_predictions
from kgenre.quoted_path import quoted_path
from kgenre.users_code import ShortTraceback


class ReportError(ShortTraceback, ValueError):
    """A folder is not a run that can be reported on, or runs cannot be compared; the message has reason and remedy."""


@dataclass(frozen=True, eq=False)
class Run:
    """The contents of a run's folder.

    Args:
        folder: the folder of the results: the run's own, or one inside it for other films.
        trained_in: the run's own folder.
        name: short, and unique within a report.
        metrics: ``metrics.json``; values that were not finite are null there and absent here.
        config: ``config.yaml``, with the data of the results; for a run started from Python, what its checkpoint holds.
        environment: ``environment.json``.
        rows: ``metrics.csv``, a dict per step at which something was logged, with ``step``.
        split: film ids of each part; {} if there is no ``split.json``.
        predictions: for the test films.
    """

    folder: Path
    trained_in: Path
    name: str
    metrics: dict[str, float]
    config: dict[str, Any]
    environment: dict[str, Any]
    rows: list[dict[str, float]]
    split: dict[str, list[str]]
    predictions: FilmPredictions

    @property
    def genre_names(self) -> tuple[str, ...]:
        """The columns of the predictions."""
        return self.predictions.genre_names

    def arguments(self, part: str) -> dict[str, Any]:
        """Return the arguments of its "model" or "data" class; {} if unknown."""
        return self.config.get(part, {}).get("init_args") or {}

    @property
    def network(self) -> str:
        """The name of the network, as configured."""
        return str(self.arguments("model").get("network", self.config.get("model", {}).get("class_path", "a network")))

    @property
    def reads(self) -> str:
        """The network's only input, "poster" or "overview"; "" if it reads both, or it is unknown."""
        given = [name for name in ("poster", "overview") if self.arguments("data").get(f"{name}s") is not False]
        if len(given) == 1:
            return given[0]
        words = {"poster": ("poster", "cnn"), "overview": ("overview", "lstm", "text")}
        named = [name for name, of in words.items() if any(word in self.network for word in of)]
        return named[0] if len(named) == 1 else ""

    @property
    def backends(self) -> list[str]:
        """The backends it was trained under, several if it was resumed under another."""
        known = self.environment.get("backends") or [self.environment.get("backend", "unknown backend")]
        return [str(backend) for backend in known]

    @property
    def hardware(self) -> str:
        """What it was trained on, such as "2 CPU cores"."""
        devices, cores = [str(device) for device in self.environment.get("devices", [])], self.environment.get("cpus")
        if cores and devices and all(device.startswith("cpu") for device in devices):
            return f"{cores} CPU cores"
        return ", ".join(devices) or "unknown devices"

    @cached_property
    def epochs(self) -> list[dict[str, float]]:
        """The rows at the ends of epochs, which have a ``train/loss``."""
        return [row for row in self.rows if "train/loss" in row]

    @cached_property
    def present_genres(self) -> list[str]:
        """The genres that occur among the test films; the others are left out of every average over genres."""
        return [name for name in self.genre_names if self.support(name) > 0]

    @cached_property
    def baselines(self) -> dict[str, dict[str, float]]:
        """The test metrics of the baselines, by baseline key."""
        found: dict[str, dict[str, float]] = {}
        for name, value in self.metrics.items():
            parts = name.split("/")
            if len(parts) == 3 and parts[0] == "test" and parts[1].startswith("baseline_"):
                found.setdefault(parts[1].removeprefix("baseline_"), {})[parts[2]] = value
        return found

    @property
    def top3_genres(self) -> list[str]:
        """The three most frequent genres of its training films; [] if it was tested by an older kgenre."""
        return [name for name in self.genre_names if f"test/baseline_top3/genre/{name}" in self.metrics]

    def genre(self, name: str, metric: str) -> float | None:
        """Return a genre's test metric, or None."""
        return self.metrics.get(f"test/genre/{name}/{metric}")

    def support(self, genre: str) -> int:
        """Return the number of test films that have a genre."""
        return int(self.genre(genre, "support") or 0)

    def share(self, genre: str) -> float:
        """Return the share of the test films that have a genre: its average precision if all films tie."""
        return self.support(genre) / self.metrics["test/films"]


def best_of(runs: Sequence[Run]) -> Run:
    """Return the run with the lowest test loss."""
    return min(runs, key=lambda run: run.metrics["test/loss"])


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
    config = read_mapping(run / "config.yaml", yaml.safe_load) or _config_of_checkpoint(run)
    if run != path:
        known = read_mapping(run / "metrics.json")
        metrics |= {name: known[name] for name in ("data/train_films", "data/validation_films") if name in known}
        own = read_mapping(path / "config.yaml", yaml.safe_load)
        config |= {part: given for part, given in own.items() if part == "data"}
    split = read_mapping(path / "split.json")
    predictions = read_predictions(path / "predictions_test.csv")
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


def _config_of_checkpoint(path: Path) -> dict[str, Any]:
    """Return what the checkpoint holds of the config of a run started from Python, which has no ``config.yaml``."""
    from kgenre.checkpoints import CheckpointError, find_checkpoint, read_state

    try:
        state = read_state(find_checkpoint(path))
    except CheckpointError:
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
