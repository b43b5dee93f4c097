"""A progress bar on a terminal, drawn by rich."""

from __future__ import annotations

import contextlib
import math
from typing import Any


class TerminalBar:
    """One bar at a time, below the lines that stay on the screen; a closed terminal is not an error.

    Args:
        console: rich's console of a terminal.
    """

    def __init__(self, console: Any) -> None:
        self._console = console
        self._progress: Any = None
        self._task: Any = None

    def open(self, title: str, total: int | float, completed: int = 0) -> None:
        """Start a new bar in place of the current one; ``total`` is infinite if unknown."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        self.close()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            # On a narrow terminal only the metrics are cut off.
            TextColumn(
                "{task.fields[metrics]}",
                markup=False,  # "f1[macro]" is a name
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            console=self._console,
            transient=True,
            expand=True,
        )
        known = None if math.isinf(total) else total
        self._task = self._progress.add_task(title, total=known, completed=completed, metrics="")
        with contextlib.suppress(OSError):
            self._progress.start()

    def update(self, completed: int | None = None, metrics: str = "") -> None:
        """Advance the bar, if there is one."""
        if self._progress is not None:
            with contextlib.suppress(OSError):
                self._progress.update(self._task, completed=completed, metrics=metrics)

    def close(self) -> None:
        """Remove the bar."""
        if self._progress is not None:
            progress, self._progress = self._progress, None
            with contextlib.suppress(OSError):
                progress.stop()

    def line(self, *parts: str) -> None:
        """Print a line that stays; a part that does not fit begins the next one."""
        lines = [parts[0]]
        for part in parts[1:]:
            if len(lines[-1]) + 2 + len(part) > self._console.width:
                lines.append(f"    {part}")
            else:
                lines[-1] += f"  {part}"
        with contextlib.suppress(OSError):
            for line in lines:
                print(line, file=self._console.file, flush=True)
