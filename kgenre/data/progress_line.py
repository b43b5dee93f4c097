"""A progress bar for what may take a while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


class ProgressLine:
    """A rich progress bar, on a terminal, for what turns out to take more than a few seconds.

    Example:
        >>> with ProgressLine("Reading posters") as progress:
        ...     pixels, bad = read_posters(table, on_progress=progress)
    """

    def __init__(self, text: str, after_seconds: float = 3.0) -> None:
        self.text = text
        self.show_at = time.monotonic() + after_seconds
        self._bar: Progress | None = None

    def __enter__(self) -> ProgressLine:
        return self

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are done."""
        if self._bar is None:
            if time.monotonic() < self.show_at:
                return
            from rich.progress import Progress

            self._bar = Progress(transient=True)
            self._task = self._bar.add_task(self.text, total=total)
            self._bar.start()
        self._bar.update(self._task, completed=done)

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()
