"""Measures how long each action takes."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from time import perf_counter

from kgenre.lightning_arguments import explain_arguments
from kgenre.profilers.profiler import Profiler


class SimpleProfiler(Profiler):
    """Mean and total seconds, calls and share of each action, largest first, in Lightning's layout.

    An action inside another one counts in both, so shares do not add up to 100 %.

    Args:
        dirpath: the folder of ``<stage>-<filename>.txt``; None: the run's.
        filename: its name.
        extended: with calls and shares; False: mean and total only.
        least_share: actions with a smaller percentage of the time are left out, and counted; 0: none.

    Example:
        >>> Trainer(profiler="simple").fit(module, batches)
    """

    @explain_arguments
    def __init__(
        self,
        dirpath: str | Path | None = None,
        filename: str = "profile",
        extended: bool = True,
        least_share: float = 0.1,
    ) -> None:
        super().__init__(dirpath, filename)
        self.least_share = least_share
        self.extended = extended
        self.setup("")

    def setup(self, stage: str) -> None:
        """Discard what was measured before."""
        super().setup(stage)
        self.durations: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])  # seconds and calls
        self._running: dict[str, float] = {}
        self._begun = perf_counter()

    def start(self, action_name: str) -> None:
        """Start the action's clock.

        Raises:
            ValueError: the action is running already.
        """
        if action_name in self._running:
            raise ValueError(f"Attempted to start {action_name} which has already started.")
        self._running[action_name] = perf_counter()

    def stop(self, action_name: str) -> None:
        """Stop the action's clock.

        Raises:
            ValueError: the action was not started.
        """
        end = perf_counter()
        if action_name not in self._running:
            raise ValueError(f"Attempting to stop recording an action ({action_name}) which was never started.")
        entry = self.durations[action_name]
        entry[0] += end - self._running.pop(action_name)
        entry[1] += 1

    def summary(self) -> str:
        """Return the table."""
        total = perf_counter() - self._begun
        calls = sum(count for _, count in self.durations.values())
        rows: list[tuple[str, ...]] = [("Action", "Mean duration (s)", "Num calls", "Total time (s)", "Percentage %")]
        rows.append(("Total", "-", str(calls), f"{total:.5}", "100 %"))
        shown = {a: spent for a, spent in self.durations.items() if 100 * spent[0] >= self.least_share * total}
        for action, (seconds, count) in sorted(shown.items(), key=lambda item: -item[1][0]):
            share = f"{100 * seconds / total:.5}"
            rows.append((action, f"{seconds / count:.5}", str(count), f"{seconds:.5}", share))
        if not self.extended:
            rows = [(action, mean, seconds) for action, mean, _, seconds, _ in rows]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["|  " + "  |  ".join(map(str.ljust, row, widths)) + "  |" for row in rows]
        rule = "-" * len(lines[0])
        title = f"{self.stage.upper()} Profiler Report" if self.stage else "Profiler Report"
        few = len(self.durations) - len(shown)
        left_out = [f"{few} action{'s' * (few > 1)} below {self.least_share:g} % left out"] if few else []
        return "\n".join([title, "", rule, lines[0], rule, lines[1], rule, *lines[2:], rule, *left_out])
