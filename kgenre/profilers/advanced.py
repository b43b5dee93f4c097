"""Measures which Python functions each action spends its time in."""

from __future__ import annotations

import cProfile
import io
import pstats
from collections import defaultdict
from pathlib import Path

from kgenre.lightning_arguments import explain_arguments
from kgenre.profilers.profiler import Profiler


class AdvancedProfiler(Profiler):
    """Runs Python's cProfile for each action. Its long report is written to a file, or printed if there is none.

    What runs on the device or in the backend's threads is not Python, and is not measured.

    Args:
        dirpath: the folder of ``<stage>-<filename>.txt``; None: the run's.
        filename: its name.
        line_count_restriction: functions shown per action, a count (int) or a share (float up to 1.0).
        dump_stats: write ``<stage>-<filename>-<action>.prof`` too, for snakeviz and similar tools.

    Example:
        >>> Trainer(profiler=AdvancedProfiler(line_count_restriction=20)).fit(module, batches)
    """

    @explain_arguments
    def __init__(
        self,
        dirpath: str | Path | None = None,
        filename: str = "profile",
        line_count_restriction: int | float = 1.0,
        dump_stats: bool = False,
    ) -> None:
        super().__init__(dirpath, filename)
        self.line_count_restriction = line_count_restriction
        self.dump_stats = dump_stats
        self.setup("")

    def setup(self, stage: str) -> None:
        """Discard what was measured before."""
        super().setup(stage)
        self.profiles: dict[str, cProfile.Profile] = defaultdict(cProfile.Profile)
        self._running: list[str] = []

    def start(self, action_name: str) -> None:
        """Start the action's profile, and pause that of the enclosing action: only one can run."""
        if self._running:
            self.profiles[self._running[-1]].disable()
        self._running.append(action_name)
        self.profiles[action_name].enable()

    def stop(self, action_name: str) -> None:
        """Stop the action's profile, and continue that of the enclosing action.

        Raises:
            ValueError: the action is not running, or not the innermost one that is.
        """
        if action_name not in self._running:
            raise ValueError(f"Attempting to stop recording an action ({action_name}) which was never started.")
        if (inner := self._running[-1]) != action_name:
            raise ValueError(f"Attempting to stop recording an action ({action_name}) before {inner}, inside it.")
        self.profiles[self._running.pop()].disable()
        if self._running:
            self.profiles[self._running[-1]].enable()

    def summary(self) -> str:
        """Return the functions of each action, by cumulative time."""
        parts = [f"{self.stage.upper()} Profiler Report" if self.stage else "Profiler Report"]
        for action, profile in self.profiles.items():
            text = io.StringIO()
            pstats.Stats(profile, stream=text).strip_dirs().sort_stats("cumulative").print_stats(
                self.line_count_restriction
            )
            parts += [f"Profile stats for: {action}", text.getvalue().rstrip()]
        return "\n".join(parts)

    def describe(self) -> None:
        """Write the summary to its file and print its path; without a file, print the summary."""
        text = self.summary()
        path = self.write(text)
        print(text if path is None else f"Profile: {path}")
        if path is not None and self.dump_stats:
            for action, profile in self.profiles.items():
                plain = "".join(c if c.isalnum() or c in "._" else "_" for c in action).strip("_")
                profile.dump_stats(path.with_name(f"{path.stem}-{plain}.prof"))
