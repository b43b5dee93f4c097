"""Bring a callback's newest checkpoint to the disk, and remove those that it replaces."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Literal

from kgenre.callbacks.kept_checkpoints import KeptCheckpoints
from kgenre.checkpoints import (
    BackgroundWriter,
    Checkpoint,
    remove_checkpoint,
    wait_for_removals,
    write_checkpoint,
    write_pointer,
)

_log = logging.getLogger("kgenre")
_writing = Lock()  # several callbacks write the same pointers, some in the background


class CheckpointSaver:
    """Writes one checkpoint at a time. If that fails, ``kept`` is as it was before the checkpoint was added.

    Args:
        kept: the callback's checkpoints, of which the newest is to be written.
        in_background: write in a thread; its error is raised by the next `save` or `wait`.
        on_error: whether an `OSError` is raised ("raise") or logged ("warn").
    """

    def __init__(self, kept: KeptCheckpoints, in_background: bool, on_error: Literal["raise", "warn"]) -> None:
        self.kept = kept
        self.on_error: str = on_error
        self._writer = BackgroundWriter() if in_background else None
        self._has_failed = False

    def start_fit(self) -> None:
        """Begin a fit: its first error is described in full again."""
        self._has_failed = False

    def save(self, checkpoint: Checkpoint, folder: Path, pointers: Mapping[str, str], on_error: str = "") -> None:
        """Write the newest checkpoint into the folder, set the pointers (name -> checkpoint), remove superfluous ones.

        ``on_error``, if given, takes the place of that of the saver.
        """
        assert self.kept.last is not None  # it was just added
        path, superfluous = folder / self.kept.last, tuple(self.kept.superfluous)

        def write() -> None:
            with _writing:
                write_checkpoint(checkpoint, path)
                self.kept.confirm_add()
                for pointer, target in pointers.items():
                    write_pointer(folder, pointer, folder / target)
                for old in superfluous:  # only now that the new one is on the disk
                    remove_checkpoint(folder / old)

        if self._writer is None:
            self._try(write, on_error)
        else:
            checkpoint = checkpoint.copy()
            self._writer.submit(write)

    def wait(self, on_error: str = "") -> None:
        """Wait until nothing is being written or removed."""
        if self._writer is not None:
            self._try(self._writer.wait, on_error)
        wait_for_removals()

    def _try(self, write: Callable[[], None], on_error: str) -> None:
        try:
            write()
        except Exception as error:
            self.kept.undo_add()
            if not isinstance(error, OSError) or (on_error or self.on_error) == "raise":
                raise
            if self._has_failed:
                _log.warning("Another checkpoint could not be written (%s).", error.strerror or error)
            else:
                _log.warning(
                    "The checkpoint could not be written (%s). Training continues; newest checkpoint: %s.",
                    error,
                    self.kept.last or "none",
                )
            self._has_failed = True
