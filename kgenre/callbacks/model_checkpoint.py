"""Save checkpoints: the last, the best, and pointers to both."""

from __future__ import annotations

import logging
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgenre.callbacks.callback import Callback
from kgenre.callbacks.monitor import check_mode, is_better, monitored
from kgenre.checkpoints import write_pointer

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


class ModelCheckpoint(Callback):
    """Writes a checkpoint after each validation (without validation: after each epoch) and keeps the best.

    In ``<run>/checkpoints`` the small files ``last`` and ``best`` name one of the ``step=...`` folders beside them.
    Older checkpoints are removed only after the new one is on the disk.

    Args:
        monitor: the logged value to judge by; None keeps the newest only. By default ``val/loss`` where it is logged.
        mode: whether smaller ("min") or larger ("max") is better.
        save_top_k: how many of the best to keep; -1: all.
        save_last: keep the newest, to resume from.
        every_n_epochs: save after every n-th epoch only.
        save_weights_only: leave the optimizer out: half the size and less, but no resuming.

    Example:
        >>> Trainer(callbacks=[ModelCheckpoint(monitor="val/map", mode="max", save_top_k=3)])
    """

    monitors = True

    def __init__(
        self,
        monitor: str | None = "val/loss",
        mode: str = "min",
        save_top_k: int = 1,
        save_last: bool = True,
        every_n_epochs: int = 1,
        save_weights_only: bool = False,
    ) -> None:
        if save_top_k < -1 or every_n_epochs < 1:
            raise ValueError(
                "ModelCheckpoint takes save_top_k >= -1 and every_n_epochs >= 1. "
                f"Received: save_top_k={save_top_k}, every_n_epochs={every_n_epochs}"
            )
        self.monitor = monitor
        self.mode = check_mode("ModelCheckpoint", mode)
        self.save_top_k = save_top_k
        self.save_last = save_last
        self.every_n_epochs = every_n_epochs
        self.save_weights_only = save_weights_only
        self.scores: dict[str, float] = {}  # folder name -> value, of the kept best ones
        self.last: str | None = None
        self.folder: Path | None = None

    @property
    def state_key(self) -> str:
        """One state for each watched value."""
        return f"ModelCheckpoint({self.monitor})"

    @property
    def best_model_path(self) -> Path | None:
        """The best checkpoint so far."""
        return self.folder / self._best() if self.folder and self.scores else None

    @property
    def best_model_score(self) -> float | None:
        """Its value of ``monitor``."""
        return self.scores[self._best()] if self.scores else None

    @property
    def last_model_path(self) -> Path | None:
        """The newest checkpoint."""
        return self.folder / self.last if self.folder and self.last else None

    def on_fit_start(self, trainer: Trainer, module: Module) -> None:
        """Know the folder; a new run begins with no checkpoints."""
        self.folder = trainer.run_dir / "checkpoints"
        if not trainer.resumed:
            self.scores, self.last = {}, None
        # A run that goes on after its folder was thinned out by hand: what is gone cannot be the best.
        self.scores = {name: score for name, score in self.scores.items() if (self.folder / name).is_dir()}

    def on_validation_end(self, trainer: Trainer, module: Module) -> None:
        """Save where validation has just logged its values."""
        if not trainer.sanity_checking and trainer.schedule.validates and trainer.stage == "fit":
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """Save the end of an epoch that had no validation."""
        if trainer.validated_at != (trainer.current_epoch, trainer.batch_idx):
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        if (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        score = self._score(trainer)
        keeps = self._is_among_best(score)
        if not (keeps or self.save_last):
            return
        name = f"step={trainer.global_step:06d}"
        previous = self.last
        before = self._best() if self.scores else None
        if keeps:
            self.scores[name] = score
        self.last = name
        path = trainer.save_checkpoint(self.folder / name, weights_only=self.save_weights_only)
        write_pointer(self.folder, "last", path)
        if keeps and self._best() != before:
            write_pointer(self.folder, "best", self.folder / self._best())
        # Only now that the new one is safe, the superfluous ones go.
        for superfluous in {*self._beyond_top_k(), *((previous,) if previous else ())}:
            if superfluous not in self.scores and superfluous != self.last:
                shutil.rmtree(self.folder / superfluous, ignore_errors=True)

    def _score(self, trainer: Trainer) -> float | None:
        if self.monitor is None:
            return None
        if self.monitor == "val/loss" and self.monitor not in trainer.callback_metrics:
            return None  # the default, in a run that logs no such value: the newest is kept
        return monitored("ModelCheckpoint", self.monitor, trainer.callback_metrics)

    def _is_among_best(self, score: float | None) -> bool:
        if score is None or math.isnan(score) or self.save_top_k == 0:
            return False
        if self.save_top_k == -1 or len(self.scores) < self.save_top_k:
            return True
        return is_better(score, self.scores[self._ranked()[-1]], self.mode)

    def _beyond_top_k(self) -> list[str]:
        if self.save_top_k == -1:
            return []
        dropped = self._ranked()[self.save_top_k :]
        for name in dropped:
            del self.scores[name]
        return dropped

    def _ranked(self) -> list[str]:
        return sorted(self.scores, key=lambda name: self.scores[name], reverse=self.mode == "max")

    def _best(self) -> str:
        return self._ranked()[0]

    def state_dict(self) -> dict[str, Any]:
        """Which checkpoints are kept, and why."""
        return {"scores": self.scores, "last": self.last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on keeping the best."""
        self.scores, self.last = dict(state["scores"]), state["last"]
