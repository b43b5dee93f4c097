"""Track which of a run's checkpoints to keep: the best by score, and the newest."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kgenre.callbacks.monitor import is_better

Position = tuple[int, int, int]


@dataclass
class KeptCheckpoints:
    """The names of the best checkpoints with their scores, of the newest, and of those that may be removed.

    Nothing is removed here: the writer of a checkpoint removes the superfluous ones once it is on the disk.

    Args:
        save_top_k: how many of the best to keep; -1: every checkpoint.
        mode: whether smaller ("min") or larger ("max") scores are better.
        scores: name -> score, of the best.
        last: the name of the newest checkpoint.
        last_at: where a run resumed from it continues: epoch, batch, and number of optimizer updates. None: training
            was interrupted, and what was due there is still to be done.
        superfluous: names of checkpoints to remove once the newest is on the disk.
        permanent: names of checkpoints never to remove: they were kept when ``save_top_k`` was larger.

    Example:
        >>> kept = KeptCheckpoints(save_top_k=1, mode="min")
        >>> kept.add("step=1", 0.5, (0, 1, 1)), kept.add("step=2", 0.4, (0, 2, 2))
        >>> kept.best, kept.last, kept.superfluous
        ('step=2', 'step=2', ['step=1'])
    """

    save_top_k: int
    mode: str
    scores: dict[str, float] = field(default_factory=dict)
    last: str | None = None
    last_at: Position | None = None
    superfluous: list[str] = field(default_factory=list)
    permanent: set[str] = field(default_factory=set)
    # For `undo_add`; None: the newest is on the disk.
    _before: tuple[dict[str, float], str | None, Position | None, list[str]] | None = None

    def clear(self) -> None:
        """Forget all checkpoints: a new run begins with none."""
        self.scores, self.last, self.last_at, self.superfluous, self.permanent = {}, None, None, [], set()

    @property
    def names(self) -> set[str]:
        """The names of the best, the newest and the superfluous checkpoints."""
        return {*self.scores, *self.superfluous, *([self.last] if self.last else [])}

    @property
    def ranking(self) -> dict[str, float]:
        """The scores, the best first."""
        return {name: self.scores[name] for name in self._ranked()}

    @property
    def best(self) -> str | None:
        """The name of the best checkpoint; None: none has a score."""
        return next(iter(self._ranked()), None)

    def is_among_best(self, score: float | None) -> bool:
        """Whether a checkpoint with this score would be among the best."""
        if score is None or math.isnan(score) or self.save_top_k == 0:
            return False
        if self.save_top_k == -1 or len(self.scores) < self.save_top_k:
            return True
        return is_better(score, self.scores[self._ranked()[-1]], self.mode)

    def add(self, name: str, score: float | None, position: Position | None) -> None:
        """Add the newest checkpoint; with a score it joins the best, and those that it displaces become superfluous."""
        self._before = dict(self.scores), self.last, self.last_at, self.superfluous
        if score is not None:
            self.scores[name] = score
        unwanted = {*self.superfluous, *self._beyond_top_k()}
        if self.last and self.save_top_k != -1:
            unwanted.add(self.last)
        self.last, self.last_at = name, position
        self.superfluous = sorted(unwanted - {*self.scores, name} - self.permanent)

    def displaced_by(self, score: float | None) -> set[str]:
        """The names that become superfluous with a newest checkpoint of this score: it may take one of them."""
        after = replace(self, scores=dict(self.scores))
        after.add("", score, None)
        return set(after.superfluous)

    def confirm_add(self) -> None:
        """Note that the newest checkpoint is on the disk."""
        self._before = None

    def undo_add(self) -> None:
        """Undo the last `add`, unless its checkpoint is on the disk."""
        if self._before is not None:
            (self.scores, self.last, self.last_at, self.superfluous), self._before = self._before, None

    def forget_missing(self, folder: Path) -> None:
        """Forget checkpoints that are no longer in the folder: a user may have removed them."""
        self.scores = {name: score for name, score in self.scores.items() if (folder / name).is_dir()}
        self.last = self.last if self.last and (folder / self.last).is_dir() else None
        self.superfluous = [name for name in self.superfluous if (folder / name).is_dir()]

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {
            "save_top_k": self.save_top_k,
            "scores": dict(self.scores),
            "last": self.last,
            "last_at": self.last_at,
            "superfluous": self.superfluous,
            "for_good": sorted(self.permanent),
        }

    def load_state_dict(self, state: dict[str, Any], is_running: bool) -> None:
        """Restore a state; if a running fit goes back to it, the checkpoints written later become superfluous."""
        known = self.names
        self.scores, self.last = dict(state["scores"]), state["last"]
        self.last_at = tuple(state["last_at"]) if state.get("last_at") else None
        later = known - {*self.scores, self.last}
        self.superfluous = sorted({*state.get("superfluous", []), *(later if is_running else ())})
        # Older states lack save_top_k.
        save_top_k, self.permanent = state.get("save_top_k", len(self.scores)), {*state.get("for_good", [])}
        if self.save_top_k != -1 and not 0 <= save_top_k <= self.save_top_k:
            self.permanent |= {*self.scores, *([self.last] if self.last and save_top_k == -1 else [])}

    def _ranked(self) -> list[str]:
        return sorted(self.scores, key=lambda name: self.scores[name], reverse=self.mode == "max")

    def _beyond_top_k(self) -> list[str]:
        if self.save_top_k == -1:
            return []
        dropped = self._ranked()[self.save_top_k :]
        for name in dropped:
            del self.scores[name]
        return dropped
