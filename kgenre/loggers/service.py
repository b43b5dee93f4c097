"""Loggers that write to a service: which of its runs is the run's, kept in the run's folder."""

from __future__ import annotations

import importlib.util
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from kgenre.loggers.logger import Logger, LoggerError


class ServiceLogger(Logger, ABC):
    """A logger whose runs live elsewhere.

    The run's folder has a small file that says which of the service's runs is this one: a resumed fit and a later
    test continue it. What was logged at the checkpoint's step and later is then logged a second time, with the same
    values at the same steps.

    Raises:
        LoggerError: the package is not installed.
    """

    package: ClassVar[str]  # which is imported, and the extra that installs it

    def __init__(self, save_dir: str | None = None, name: str | None = None) -> None:
        super().__init__(save_dir, name)
        self._run_dir: Path | None = None
        if importlib.util.find_spec(self.package) is None:
            raise LoggerError(
                f"{type(self).__name__} needs the package {self.package}: pip install 'kgenre[{self.package}]'"
            )

    def open(self, run_dir: Path | None, resume_step: int | None = None) -> None:
        if run_dir is None:
            raise self.not_open()
        if run_dir == self._run_dir and self._is_open():
            return
        self._leave()
        file = run_dir / f"{self.package}.json"
        try:
            known = json.loads(file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # a new run; a disk that was full
            known = None
        file.write_text(json.dumps(self._begin(run_dir, known), indent=2), encoding="utf-8")
        self._run_dir = run_dir

    @abstractmethod
    def _begin(self, run_dir: Path, known: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """Begin a run of the service, or go on with the ``known`` one; what finds it again, for the folder's file."""

    def _is_open(self) -> bool:
        """Whether values can be logged without `_begin`: False where `finalize` ends the run after each stage."""
        return False

    @abstractmethod
    def _leave(self) -> None:
        """Another run is about to begin."""


def title(run_dir: Path) -> str:
    """What the service shows: ``digit_net/version_0``; for results in it, the folder's name behind it."""
    parts = run_dir.resolve().parts
    return "/".join(parts[-2:] if parts[-1].startswith("version_") else parts[-3:])
