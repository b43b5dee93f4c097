"""A tested run, as reports see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kgenre.evaluation.film_predictions import FilmPredictions
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
        inputs: what its network reads, "poster" or "overview" or both; () if its checkpoint does not tell.
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
    inputs: tuple[str, ...] = ()

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
    def is_fused(self) -> bool:
        """Whether it was created by `kgenre fuse`: its training options were never used."""
        return self.network == "fused" and not self.epochs

    @property
    def reads(self) -> str:
        """The network's only input, "poster" or "overview"; "" if it reads both, or it is unknown."""
        if self.inputs:
            return self.inputs[0] if len(self.inputs) == 1 else ""
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
    def validated_films(self) -> str:
        """The metric that has the number of films in a validation of its fit: older versions had the split's only."""
        return "val/films" if "val/films" in self.metrics else "data/validation_films"

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
