"""Which checkpoints of a run stay: the best by their score, and the newest."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kgenre.callbacks.monitor import is_better


@dataclass
class KeptCheckpoints:
    """The names of the best checkpoints with their scores, of the newest, and of those that may be removed.

    Only names are kept here; whoever writes a checkpoint removes what is superfluous when the new one is on the disk.

    Args:
        save_top_k: how many of the best stay; -1: every checkpoint.
        mode: whether smaller ("min") or larger ("max") scores are better.
        scores: name -> score of the best.
        last: the name of the newest.
        superfluous: names of those that may be removed once the newest is on the disk.
        for_good: names of those that never may: they were kept when ``save_top_k`` was larger.

    Example:
        >>> kept = KeptCheckpoints(save_top_k=1, mode="min")
        >>> kept.add("step=1", 0.5), kept.add("step=2", 0.4)
        >>> kept.best, kept.last, kept.superfluous
        ('step=2', 'step=2', ['step=1'])
    """

    save_top_k: int
    mode: str
    scores: dict[str, float] = field(default_factory=dict)
    last: str | None = None
    superfluous: list[str] = field(default_factory=list)
    for_good: set[str] = field(default_factory=set)
    _before: tuple[dict[str, float], str | None, list[str]] = ({}, None, [])  # should the newest fail

    def clear(self) -> None:
        """A new run begins with none."""
        self.scores, self.last, self.superfluous, self.for_good = {}, None, [], set()

    @property
    def names(self) -> set[str]:
        """Of all that are or may be on the disk."""
        return {*self.scores, *self.superfluous, *([self.last] if self.last else [])}

    @property
    def best(self) -> str | None:
        """The name of the best; None: none has a score."""
        return next(iter(self._ranked()), None)

    def is_among_best(self, score: float | None) -> bool:
        """Whether a checkpoint with this score would stay for it."""
        if score is None or math.isnan(score) or self.save_top_k == 0:
            return False
        if self.save_top_k == -1 or len(self.scores) < self.save_top_k:
            return True
        return is_better(score, self.scores[self._ranked()[-1]], self.mode)

    def add(self, name: str, score: float | None) -> None:
        """The newest checkpoint; with a score it is among the best, and what it pushes out of them is superfluous."""
        self._before = dict(self.scores), self.last, self.superfluous
        if score is not None:
            self.scores[name] = score
        unwanted = {*self.superfluous, *self._beyond_top_k()}
        if self.last and self.save_top_k != -1:
            unwanted.add(self.last)
        self.last = name
        self.superfluous = sorted(unwanted - {*self.scores, name} - self.for_good)

    def take_back(self) -> None:
        """The newest was not written after all."""
        self.scores, self.last, self.superfluous = self._before

    def forget_missing(self, folder: Path) -> None:
        """What was removed by hand cannot be the best, nor need it be removed."""
        self.scores = {name: score for name, score in self.scores.items() if (folder / name).is_dir()}
        self.last = self.last if self.last and (folder / self.last).is_dir() else None
        self.superfluous = [name for name in self.superfluous if (folder / name).is_dir()]

    def state_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "save_top_k": self.save_top_k,
            "scores": dict(self.scores),
            "last": self.last,
            "superfluous": self.superfluous,
            "for_good": sorted(self.for_good),
        }

    def load_state_dict(self, state: dict[str, Any], is_running: bool) -> None:
        """Take a state over; where the run is under way and goes back to it, what came later is superfluous."""
        known = self.names
        self.scores, self.last = dict(state["scores"]), state["last"]
        later = known - {*self.scores, self.last}
        self.superfluous = sorted({*state.get("superfluous", []), *(later if is_running else ())})
        # Older states do not say how many were to be kept.
        save_top_k, self.for_good = state.get("save_top_k", len(self.scores)), {*state.get("for_good", [])}
        if self.save_top_k != -1 and not 0 <= save_top_k <= self.save_top_k:
            self.for_good |= {*self.scores, *([self.last] if self.last and save_top_k == -1 else [])}

    def _ranked(self) -> list[str]:
        return sorted(self.scores, key=lambda name: self.scores[name], reverse=self.mode == "max")

    def _beyond_top_k(self) -> list[str]:
        if self.save_top_k == -1:
            return []
        dropped = self._ranked()[self.save_top_k :]
        for name in dropped:
            del self.scores[name]
        return dropped
