"""A progress bar in a notebook: one output of the cell, updated in place."""

from __future__ import annotations

import math
import time
from datetime import timedelta

_WIDTH = 16
_LINES = 100  # per output, because each update sends the whole output
_EVERY = 0.2  # seconds between two redraws, and before the first


class NotebookBar:
    """One bar at a time, below the lines that stay on the screen.

    It is plain text sent through IPython's display, which works in Jupyter, Colab and VS Code without ipywidgets; a
    saved notebook shows its last state. A bar that is done within a fifth of a second is never drawn.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._title: str | None = None
        self._output: str | None = None  # its display_id in IPython

    def open(self, title: str, total: int | float, completed: int = 0) -> None:
        """Start a new bar in place of the current one; ``total`` is infinite if unknown."""
        self._title, self._total = title, total
        self._first = self._completed = completed
        self._metrics = ""
        self._started = self._drawn = time.perf_counter()

    def update(self, completed: int | None = None, metrics: str = "") -> None:
        """Advance the bar, if there is one."""
        if self._title is None:
            return
        self._completed = self._completed if completed is None else completed
        self._metrics = metrics
        if time.perf_counter() - self._drawn >= _EVERY:
            self._draw()

    def close(self) -> None:
        """Draw the bar a last time; it stays until a line replaces it."""
        if self._title is not None and self._drawn > self._started:  # it has been drawn
            self._draw()
        self._title = None

    def line(self, *parts: str) -> None:
        """Print a line that stays, in place of the bar."""
        self._title = None
        self._lines.append("  ".join(parts))
        self._draw()
        if len(self._lines) >= _LINES:
            self._lines, self._output = [], None

    def _draw(self) -> None:
        from IPython.display import display

        text = "\n".join([*self._lines, *([] if self._title is None else [self._bar()])])
        is_new, self._output = self._output is None, self._output or f"kgenre-{id(self)}-{time.monotonic_ns()}"
        display({"text/plain": text}, raw=True, display_id=self._output, update=not is_new)
        self._drawn = time.perf_counter()

    def _bar(self) -> str:
        elapsed, done, total = time.perf_counter() - self._started, self._completed, self._total
        if math.isinf(total):
            return "  ".join(filter(None, (self._title, f"{done}", _clock(elapsed), self._metrics)))
        filled = round(_WIDTH * done / total) if total else _WIDTH
        left = elapsed if done >= total else elapsed * (total - done) / max(done - self._first, 1)
        drawn = "━" * filled + "┄" * (_WIDTH - filled)
        return "  ".join(filter(None, (f"{self._title} {drawn} {done}/{total}", _clock(left), self._metrics)))


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
