"""A progress bar for work that may take a while."""

from __future__ import annotations

import math
import time

from kgenre.callbacks.notebook_bar import NotebookBar
from kgenre.callbacks.progress_bar import choose_bar
from kgenre.callbacks.terminal_bar import TerminalBar


class ProgressLine:
    """A progress bar, on a terminal or in a notebook, that appears only if the work takes more than three seconds.

    Example:
        >>> with ProgressLine("Reading posters") as progress:
        ...     pixels, bad = read_posters(read_films("films"), on_progress=progress)
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.show_at = time.monotonic() + 3
        self._bar: TerminalBar | NotebookBar | None = None

    def __enter__(self) -> ProgressLine:
        return self

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` items are done."""
        if self._bar is None and time.monotonic() >= self.show_at:
            self._bar = choose_bar()
            if self._bar is not None:
                self._bar.open(self.text, total, done)
            else:
                self.show_at = math.inf
        if self._bar is not None:
            self._bar.update(done)

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()
