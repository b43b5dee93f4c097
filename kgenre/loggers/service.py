"""The base of loggers that write to a service: it records the id of the service's run in the run's folder."""

from __future__ import annotations

import importlib.util
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from kgenre.checkpoints.files import whole_file
from kgenre.loggers.logger import Logger, LoggerError

_log = logging.getLogger("kgenre")


class ServiceLogger(Logger, ABC):
    """A logger that writes to a service.

    A small file in the run's folder identifies the service's run, which a resumed fit and a later test continue. What
    was logged at the checkpoint's step and later is then logged a second time, with the same values at the same steps.
    Services cannot remove single values: those of a test that came after the checkpoint stay, and a warning says so.

    Raises:
        LoggerError: the package is not installed.
    """

    package: ClassVar[str]  # to import, and the name of kgenre's extra that installs it

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
        except (FileNotFoundError, ValueError):  # a new run, or a truncated file after a full disk
            known = None
        content = json.dumps(self._begin(run_dir, known), indent=2)
        with whole_file(file) as partial:
            partial.write_text(content, encoding="utf-8")
        self._run_dir = run_dir
        if known is not None and resume_step is not None and (tested_at := _tested_at(run_dir)) > resume_step:
            _log.warning(
                "%s: the test values of step %d stay, although the run goes on from step %d: services cannot remove "
                "values. The next test logs new ones.",
                type(self).__name__,
                tested_at,
                resume_step,
            )

    def leave_run(self) -> None:
        self._leave()

    @abstractmethod
    def _begin(self, run_dir: Path, known: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """Begin a run of the service, or continue the ``known`` one; return what identifies it, to be saved."""

    def _is_open(self) -> bool:
        """Return whether values can be logged without `_begin`: False if `finalize` ends the run after each stage."""
        return False

    @abstractmethod
    def _leave(self) -> None:
        """Leave the current run, as another one is about to begin."""


def _tested_at(run_dir: Path) -> int:
    """Return the step of the run's latest test; 0 without one."""
    try:
        return int(json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))["test/step"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def title(run_dir: Path) -> str:
    """Return the run's name in the service: ``digit_net/version_0``, followed by a folder in it that holds results.

    A trial's has the sweep's name in front, ``sweep/trial_000/version_0``.
    """
    parts = run_dir.resolve().parts
    first = -2 if parts[-1].startswith("version_") else -3
    return "/".join(parts[first - parts[first].startswith("trial_") :])


def in_file_name(name: str) -> str:
    """Return the beginning of a name that a service makes part of a file's name, with a hundred more characters."""
    return name.encode()[:150].decode(errors="ignore")
