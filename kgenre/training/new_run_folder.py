"""The folder that a run makes for itself: of a run that is refused before its first step nothing is left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path

from kgenre.training.errors import TrainerError
from kgenre.training.run_folder import new_run_folder

_OWN = ("metrics.json", ".lock")


class NewRunFolder:
    """The next ``version_<n>`` of an experiment, made now, which `remove_if_unused` takes away again.

    Args:
        experiment: ``<root>/<name>``; made where it is missing.
        own: names of files and folders, as `fnmatch` takes them, that the run writes whenever it likes: its loggers'.

    Raises:
        TrainerError: the folder cannot be made.

    Example:
        >>> folder = NewRunFolder(Path("runs/net"))
        >>> with folder.own_writing():
        ...     (folder.path / "environment.json").write_text("{}")
        >>> folder.remove_if_unused()
        >>> Path("runs").exists()
        False
    """

    def __init__(self, experiment: Path, own: Sequence[str] = ()) -> None:
        self._missing = [folder for folder in (experiment, *experiment.parents) if not folder.exists()]
        self._own_names = (*_OWN, *own)
        self._own: dict[str, tuple[int, int]] = {}
        self._is_used = False
        try:
            self.path = new_run_folder(experiment)
        except TrainerError:
            self._remove_missing()
            raise

    @contextmanager
    def own_writing(self) -> Iterator[None]:
        """What changes in the folder meanwhile is the run's own; whatever else changes there is somebody's work."""
        self._look()
        try:
            yield
        finally:
            self._own = self._files()

    def remove_if_unused(self) -> bool:
        """Remove the folder, and those above it that were made for it, unless somebody else wrote into it."""
        self._look()
        if self._is_used:
            return False
        shutil.rmtree(self.path, ignore_errors=True)
        self._remove_missing()
        return True

    def _remove_missing(self) -> None:
        with suppress(OSError):  # another run is in there by now
            for folder in self._missing:
                folder.rmdir()

    def _look(self) -> None:
        self._is_used = self._is_used or self._files() != self._own

    def _files(self) -> dict[str, tuple[int, int]]:
        """Every other file below with its size in bytes and the time of its last change in ns."""
        found = {}
        for inside, folders, names in os.walk(self.path):
            folders[:] = self._not_own(folders)
            for name in self._not_own(names):
                path = os.path.join(inside, name)
                about = os.lstat(path)
                found[path] = (about.st_size, about.st_mtime_ns)
        return found

    def _not_own(self, names: list[str]) -> list[str]:
        return [name for name in names if not any(fnmatch(name, own) for own in self._own_names)]
