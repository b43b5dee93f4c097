"""A run's new folder, which is removed again if the run fails before its first step."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

from kgenre.training.errors import TrainerError
from kgenre.training.run_folder import new_run_folder

_OWN = ("metrics.json", ".lock")


class NewRunFolder:
    """Creates the next ``version_<n>`` folder of an experiment, which `remove_if_unused` removes again.

    Args:
        experiment: ``<root>/<name>``; created if it is missing.
        own: patterns (see `fnmatch`) of what the run may write at any time: files and folders of loggers and profiler.

    Raises:
        TrainerError: the folder cannot be created.

    Example:
        >>> folder = NewRunFolder(Path("runs/net"))
        >>> (folder.path / "environment.json").write_text("{}")
        >>> folder.note_own()
        >>> folder.remove_if_unused()
        True
        >>> Path("runs").exists()
        False
    """

    def __init__(self, experiment: Path, own: Sequence[str] = ()) -> None:
        self._missing = [folder for folder in (experiment, *experiment.parents) if not folder.exists()]
        self._own_names = (*_OWN, *own)
        self._own: dict[str, tuple[int, int]] = {}
        try:
            self.path = new_run_folder(experiment)
        except TrainerError:
            self._remove_missing()
            raise

    def note_own(self) -> None:
        """Count what is in the folder as the run's own; all later changes are somebody else's."""
        self._own = self._files()

    def remove_if_unused(self) -> bool:
        """Remove the folder and the parents created for it, unless somebody else wrote into it."""
        if self._files() != self._own:
            return False
        shutil.rmtree(self.path, ignore_errors=True)
        self._remove_missing()
        return True

    def _remove_missing(self) -> None:
        for folder in self._missing:
            with suppress(OSError):  # another run has a folder there by now, or it could not be created
                folder.rmdir()

    def _files(self) -> dict[str, tuple[int, int]]:
        """All files below except the run's own, with their size in bytes and modification time in ns."""
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
