"""Formatting of the report's numbers, with a record of each."""

from __future__ import annotations

from typing import Any

from kgenre.reports.run import Run

# How values of ``metrics.json`` are printed, by the last part of their name that is here; all others have 3 decimals.
_FORMS = {"loss": ".4f", "brier": ".4f", "threshold": ".2f", "ap": ".2f", "step": "d", "parameters": ",d"}
_FORMS |= dict.fromkeys(("films", "train_films", "validation_films", "test_films", "baseline_films"), ",d")


def form_of(name: str) -> str:
    """Return the format of a value of ``metrics.json``, "test/loss" or "loss" alone."""
    return next((_FORMS[part] for part in reversed(name.split("/")) if part in _FORMS), ".3f")


class Numbers:
    """Formats numbers for the pages and records them for ``report.json``, so that they can be checked.

    Example:
        >>> numbers = Numbers()
        >>> numbers.of(run, "test/loss")
        '0.2103'
        >>> numbers.recorded["poster_cnn: test/loss"]
        {'value': 0.21034, 'printed': '0.2103'}
    """

    def __init__(self) -> None:
        self.recorded: dict[str, dict[str, Any]] = {}

    def of(self, run: Run, name: str) -> str:
        """Format a value from the run's ``metrics.json``; a dash if it is missing."""
        value = run.metrics.get(name)
        return "–" if value is None else self.about(run, name, value, form_of(name))

    def about(self, run: Run, name: str, value: float, form: str = ".3f") -> str:
        """Format a number about a run and record it under the run's name and its own."""
        return self.record(f"{run.name}: {name}", value, form)

    def record(self, name: str, value: float, form: str = ".3f") -> str:
        """Format a number and record it under ``name``."""
        printed = format(int(value) if form in ("d", ",d") else value, form)
        self.recorded[name] = {"value": value, "printed": printed}
        return printed


def counted(count: str, noun: str) -> str:
    """Return a printed number with its noun: "1 film" or "12 films"."""
    return f"{count} {noun}{'s' * (count != '1')}"
