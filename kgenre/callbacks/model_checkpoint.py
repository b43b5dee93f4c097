"""Save checkpoints: the newest, the best, and pointers to both."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

from kgenre.callbacks.callback import Callback
from kgenre.callbacks.checkpoint_name import FIELD, check_template, checkpoint_name
from kgenre.callbacks.duration import read_duration
from kgenre.callbacks.kept_checkpoints import KeptCheckpoints
from kgenre.callbacks.logged_names import check_logged, other_spelling
from kgenre.callbacks.monitor import check_mode, monitored
from kgenre.checkpoints import (
    BackgroundWriter,
    remove_checkpoint,
    wait_for_removals,
    write_checkpoint,
    write_pointer,
)

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")

_FIRST_SET_LOSS = "val/loss/dataloader_idx_0"
_writing = Lock()  # several callbacks write the same pointers, some in the background


class ModelCheckpoint(Callback):
    """Writes a checkpoint after each validation and at the end of each epoch, and keeps the best.

    In ``<run>/checkpoints`` the small files ``last`` and ``best`` point to one of the ``step=...`` folders there.
    Older checkpoints are removed only after the new one is on the disk. If a checkpoint by steps or by time is due
    together with a validation, it is written after it; one at the end of an epoch is written after all other callbacks
    and the module. Otherwise it is ranked by the newest value of ``monitor``; a validation ranks one checkpoint only.
    Ctrl-C, SIGTERM and SIGHUP always save.

    A run may have several: each counts and removes its own folders; a name that another one has used gets "-v1".
    ``best`` belongs to the first with a ``monitor``, ``last`` is the newest of all that a run can be resumed from.

    Args:
        monitor: the logged value that ranks checkpoints; None: no ranking. Default: ``val/loss`` if it is logged,
            with several validation sets that of the first (``val/loss/dataloader_idx_0``).
        mode: whether smaller ("min") or larger ("max") is better.
        save_top_k: how many of the best to keep; -1: all. If a run is resumed with a smaller number, those beyond it
            stay on the disk.
        save_last: keep the newest one, to resume from, at least that of the end of the fit; False: only as long as no
            checkpoint is ranked.
        every_n_epochs: save every n epochs only; None: 1, or never if one of the next two is given.
        every_n_train_steps: save every n optimizer updates instead.
        train_time_interval: save when this much time has passed since the last one ("DD:HH:MM:SS", a dict with the
            keywords of `datetime.timedelta`, or a timedelta) instead.
        save_on_exception: save when an error ends training, to resume from there; not if the error destroyed the
            weights, as running out of memory does under JAX, nor if an epoch ended before its first step and its
            beginning is saved.
        save_weights_only: leave out the optimizer: less than half the size, but it cannot be resumed from.
        filename: a template for the folders' names, such as "{epoch:02d}-{val/loss:.3f}" (which gives
            ``epoch=07-val_loss=0.250``); None: ``step=001240``. A name that is taken gets "-v1", "-v2", ..., unless its
            checkpoint is to be removed: with "mine" and ``save_top_k=1``, ``mine`` is always the best.
        async_save: write in a thread while training continues; a step only waits for the copy from the device. Errors
            are raised by the next save or at the end of training.
        on_save_error: if a checkpoint cannot be written (a full disk), "raise" the error, or "warn" and continue with
            the existing ones.

    Raises:
        ValueError: an invalid argument.
        MonitorError: the value is not logged: when training begins, where nothing but the steps can log it; else when
            it should be there.

    Example:
        >>> Trainer(callbacks=[ModelCheckpoint(monitor="val/map", mode="max", save_top_k=3)])
    """

    saves = True

    def __init__(
        self,
        monitor: str | None = "val/loss",
        mode: str = "min",
        save_top_k: int = 1,
        save_last: bool = True,
        every_n_epochs: int | None = None,
        save_weights_only: bool = False,
        every_n_train_steps: int | None = None,
        train_time_interval: str | timedelta | dict[str, float] | None = None,
        save_on_exception: bool = False,
        filename: str | None = None,
        async_save: bool = False,
        on_save_error: Literal["raise", "warn"] = "raise",
    ) -> None:
        if on_save_error not in ("raise", "warn"):
            raise ValueError(
                f"ModelCheckpoint(on_save_error=...) must be 'raise' or 'warn'. Received: {on_save_error!r}"
            )
        intervals = (every_n_epochs, every_n_train_steps)
        if save_top_k < -1 or any(n is not None and n < 1 for n in intervals):
            raise ValueError(
                "ModelCheckpoint takes save_top_k >= -1, every_n_epochs >= 1 and every_n_train_steps >= 1. Received: "
                f"save_top_k={save_top_k}, every_n_epochs={every_n_epochs}, every_n_train_steps={every_n_train_steps}"
            )
        if monitor is None and save_top_k > 1:
            raise ValueError(
                f"ModelCheckpoint(monitor=None, save_top_k={save_top_k}): nothing ranks the checkpoints. Pass a "
                "monitor, or save_top_k=-1, 0 or 1."
            )
        if sum(when is not None for when in (*intervals, train_time_interval)) > 1:
            raise ValueError(
                "ModelCheckpoint takes only one of every_n_epochs, every_n_train_steps and train_time_interval. "
                f"Received: every_n_epochs={every_n_epochs}, every_n_train_steps={every_n_train_steps}, "
                f"train_time_interval={train_time_interval!r}"
            )
        self.monitor = monitor
        self.mode = check_mode("ModelCheckpoint", mode)
        self.save_top_k = save_top_k
        self.save_last = save_last
        self.every_n_train_steps = every_n_train_steps
        self.train_time_interval = None
        if train_time_interval is not None:
            argument = "ModelCheckpoint(train_time_interval=...)"
            self.train_time_interval = read_duration(argument, train_time_interval).total_seconds()
        by_epoch = every_n_train_steps is None and self.train_time_interval is None
        self.every_n_epochs = (every_n_epochs or 1) if by_epoch else None
        self.save_on_exception = save_on_exception
        self.filename = "{step:06d}" if filename is None else check_template(filename)
        self.save_weights_only = save_weights_only
        self.on_save_error = on_save_error
        self._writer = BackgroundWriter() if async_save else None
        self.kept = KeptCheckpoints(save_top_k, mode)
        self.folder: Path | None = None
        self._others: list[ModelCheckpoint] = []
        self._own_pointers: set[str] = set()  # the pointers that this callback writes
        self._seen = 0  # the newest optimizer update that was handled
        self._saved_at = 0.0  # `monotonic` time of the last save
        self._is_due = False  # a save by steps or by time waits for a validation
        self._has_saved = False  # a checkpoint that was due, not only where training was interrupted or ended
        self._is_written = True  # the newest checkpoint is on the disk
        self._ended_at: tuple[int, ...] = ()  # epoch, batch and step of a save at the end of a fit
        self._has_failed = False  # a write has failed in this fit
        self._at_boundary: tuple[int, int, int] | None = None  # epoch, batch, step of a save between epochs
        self._newest_at: tuple[int, int] | None = None  # epoch and batch of the newest checkpoint

    @property
    def state_key(self) -> str:
        """One key per monitored value."""
        return f"ModelCheckpoint({self.monitor})"

    @property
    def best_model_path(self) -> Path | None:
        """The best checkpoint so far."""
        return self.folder / self.kept.best if self.folder and self.kept.best else None

    @property
    def best_model_score(self) -> float | None:
        """The best checkpoint's value of ``monitor``."""
        return self.kept.scores[self.kept.best] if self.kept.best else None

    @property
    def last_model_path(self) -> Path | None:
        """The newest checkpoint."""
        return self.folder / self.kept.last if self.folder and self.kept.last else None

    def setup(self, trainer: Trainer, module: Module, stage: str) -> None:
        """Forget the checkpoints of an earlier fit: they may belong to another run."""
        if stage == "fit":
            self.folder, self._is_due, self._has_saved, self._ended_at = None, False, False, ()
            self.kept.clear()

    def on_fit_start(self, trainer: Trainer, module: Module) -> None:
        """Find the run's folder and the other callbacks that save there."""
        if self.monitor != "val/loss":
            check_logged("ModelCheckpoint", self.monitor, trainer, module)
        elif self.save_top_k and (name := other_spelling("val/loss", trainer)):  # the default need not be logged
            _log.warning(
                "ModelCheckpoint ranks checkpoints by 'val/loss', which no step logs, so there will be no best one. "
                "Did you mean ModelCheckpoint(monitor=%r)?",
                name,
            )
        for name in sorted({name for name, _ in FIELD.findall(self.filename)} - {"epoch", "step"}):
            check_logged("ModelCheckpoint", name, trainer, module, self.filename)
        self._has_failed, self._at_boundary = False, None
        assert trainer.run_dir is not None  # a fit with a ModelCheckpoint has a folder
        self.folder = trainer.run_dir / "checkpoints"
        everyone = [callback for callback in trainer.callbacks if isinstance(callback, ModelCheckpoint)]
        self._others = [callback for callback in everyone if callback is not self]
        ranking = [callback for callback in everyone if callback.monitor is not None and callback.save_top_k]
        self._own_pointers = {"best"} if self in ranking[:1] else set()
        if not self.save_weights_only or all(callback.save_weights_only for callback in everyone):
            self._own_pointers.add("last")
        for name in self.kept.superfluous:  # the run was killed before it removed them
            remove_checkpoint(self.folder / name)
        self.kept.forget_missing(self.folder)

    def on_train_start(self, trainer: Trainer, module: Module) -> None:
        """Start counting updates and time."""
        self._seen, self._saved_at = trainer.global_step, monotonic()
        self._newest_at = (trainer.current_epoch, trainer.batch_idx) if trainer.resumed else None

    def next_step_needed(self, trainer: Trainer) -> float:
        """Request the update after which a checkpoint by steps is due."""
        n = self.every_n_train_steps
        return math.inf if n is None else (trainer.global_step // n + 1) * n

    def on_train_batch_end(
        self, trainer: Trainer, module: Module, outputs: dict[str, Any], batch: Any, batch_idx: int
    ) -> None:
        """Save if a checkpoint is due by steps or by time, unless a validation comes first."""
        if trainer.global_step == self._seen:
            return
        self._seen = trainer.global_step
        if self.every_n_train_steps is not None:
            self._is_due = trainer.global_step % self.every_n_train_steps == 0
        elif self.train_time_interval is not None:
            self._is_due = monotonic() - self._saved_at >= self.train_time_interval
        else:
            return
        schedule, batches = trainer.schedule, trainer.batch_idx
        # At an epoch's end, or where a validation is due, save after it: its values rank the checkpoint.
        waits = batches >= schedule.training_batches or schedule.validates_inside(trainer.current_epoch, batches)
        if self._is_due and not waits:
            self._save(trainer)

    def on_validation_end(self, trainer: Trainer, module: Module) -> None:
        """Save after a validation inside an epoch, which has just logged its values."""
        if trainer.stage == "fit" and not trainer.sanity_checking and not trainer.epoch_is_done:
            self._save_if_due(trainer)

    def on_train_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """Save at the end of an epoch, after all other hooks."""
        if trainer.epoch_is_done or trainer.validated_at != (trainer.current_epoch, trainer.batch_idx):
            self._save_if_due(trainer)

    def finish(self) -> None:
        """Wait until nothing is being written."""
        self._wait(self.on_save_error)

    def on_train_end(self, trainer: Trainer, module: Module) -> None:
        """Wait until the last checkpoint is on the disk; with ``save_last``, save one if none was due yet."""
        here = trainer.current_epoch, trainer.batch_idx, trainer.global_step
        is_saved = (self._has_saved and self.kept.last) or here == self._ended_at
        if self.save_last and not is_saved and trainer.global_step:
            self._ended_at = here
            self._save(trainer, is_due=False)
        self.finish()

    def on_exception(self, trainer: Trainer, module: Module, exception: BaseException) -> None:
        """Save where training was interrupted: after a signal, or after an error with ``save_on_exception``."""
        if trainer.stage != "fit" or self.folder is None:
            return
        self._wait("warn")  # the exception is what the user should see
        wanted = self.save_on_exception and not trainer.stop_signal.is_urgent
        if not trainer.global_step or not (wanted or trainer.stop_signal.saves):
            return
        here = trainer.current_epoch, trainer.batch_idx, trainer.global_step
        others = [callback for callback in self._others if not callback.save_weights_only]
        saved = [callback.last_model_path for callback in (self, *others) if callback._at_boundary == here]
        if saved:
            # The epoch's first hooks (a new rate) have run; a run resumed from here would run them again.
            _log.info("Nothing is saved: no step was made since %s.", saved[0])
        elif trainer.engine.has_lost_steps:  # a run resumed from here would skip their batches
            newest = self.last_model_path or "none"
            _log.warning("Nothing is saved: the weights lack the last steps. The newest checkpoint: %s", newest)
        else:
            # The rest of the epoch (validation, hooks) may not have run yet: the resumed run does it.
            trainer.epoch_is_done = False
            self._write(trainer, score=None, on_error="warn")
            self._wait("warn")
            _log.info("Saved where training was interrupted: %s", self.last_model_path)

    def _save_if_due(self, trainer: Trainer) -> None:
        n = self.every_n_epochs
        if self._is_due if n is None else (trainer.current_epoch + 1) % n == 0:
            self._save(trainer)

    def _save(self, trainer: Trainer, is_due: bool = True) -> None:
        self._is_due, self._saved_at = False, monotonic()
        assert self.folder is not None  # see on_fit_start
        self._wait(self.on_save_error)
        self.kept.forget_missing(self.folder)
        score = self._score(trainer)
        keeps = self.kept.is_among_best(score) and not self._is_already_ranked(score, trainer)
        # Keep the newest one until one is ranked.
        has_none = self.save_top_k > 0 and self.kept.best is None
        if not (keeps or has_none or self.save_last or self.save_top_k == -1):
            return
        self._has_saved = self._has_saved or is_due
        self._write(trainer, score if keeps else None, self.on_save_error)

    def _is_already_ranked(self, score: float | None, trainer: Trainer) -> bool:
        """Whether the score comes from a validation that has already ranked another checkpoint."""
        is_new = trainer.validated_at == (trainer.current_epoch, trainer.batch_idx) or not trainer.schedule.validates
        return not is_new and score in self.kept.scores.values()

    def _write(self, trainer: Trainer, score: float | None, on_error: str) -> None:
        """Write the newest checkpoint, with a score if it is among the best."""
        folder = self.folder
        assert folder is not None  # see on_fit_start
        name = self._free_name(trainer, folder, score)
        self._newest_at = trainer.current_epoch, trainer.batch_idx
        self.kept.add(name, score)
        self._is_written = False
        checkpoint = trainer.dump_checkpoint(self.save_weights_only)
        # `LossWatch` found a bad loss, perhaps while the state was collected.
        if trainer.has_diverged or trainer.pending_rollback is not None:
            self.kept.undo_add()
            return
        targets = {"last": name}
        if score is not None and self.kept.best is not None:
            targets["best"] = self.kept.best
        pointers = {pointer: target for pointer, target in targets.items() if pointer in self._own_pointers}
        superfluous = tuple(self.kept.superfluous)
        self._at_boundary = (trainer.current_epoch + 1, 0, trainer.global_step) if trainer.epoch_is_done else None

        def write() -> None:
            with _writing:
                path = write_checkpoint(checkpoint, folder / name)
                self._is_written = True
                for pointer, target in pointers.items():
                    write_pointer(path.parent, pointer, path.parent / target)
                # Remove the superfluous ones only now that the new one is on the disk.
                for old in superfluous:
                    remove_checkpoint(path.parent / old)

        if self._writer is None:
            self._try(write, on_error)
        else:
            checkpoint = checkpoint.copy()
            self._writer.submit(write)

    def _wait(self, on_error: str) -> None:
        if self._writer is not None:
            self._try(self._writer.wait, on_error)
        wait_for_removals()

    def _try(self, write: Callable[[], None], on_error: str) -> None:
        try:
            write()
        except OSError as error:
            self._at_boundary = None
            if not self._is_written:
                self.kept.undo_add()
            if on_error == "raise":
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

    def _free_name(self, trainer: Trainer, folder: Path, score: float | None) -> str:
        metrics = trainer.callback_metrics
        is_between = not (trainer.batch_idx or trainer.epoch_is_done)  # between epochs: name it after the finished one
        epoch = trainer.current_epoch - is_between
        name = free = checkpoint_name(self.filename, epoch, trainer.global_step, metrics)
        version = 0
        taken = {name for other in self._others for name in other.kept.names}
        if score is None and self._newest_at != (trainer.current_epoch, trainer.batch_idx):
            # Of the same update but a later batch, with other BatchNorm statistics than those that were ranked.
            taken |= self.kept.scores.keys()
        free_soon = self.kept.displaced_by(score)
        # With the default name, the folder of the same step is the same checkpoint and may be overwritten.
        while free in taken or (self.filename != "{step:06d}" and free not in free_soon and (folder / free).exists()):
            version += 1
            free = f"{name}-v{version}"
        return free

    def _score(self, trainer: Trainer) -> float | None:
        monitor, metrics = self.monitor, trainer.callback_metrics
        if monitor is None:
            return None
        if monitor == "val/loss" and monitor not in metrics and _FIRST_SET_LOSS in metrics:
            monitor = _FIRST_SET_LOSS
            if self.kept.best is None:
                _log.info("ModelCheckpoint: the first of several validation sets ranks the checkpoints (%s).", monitor)
        in_first_epoch = not (trainer.current_epoch or trainer.epoch_is_done)
        awaits_validation = trainer.schedule.validates and not trainer.validated_at
        if monitor not in metrics and (in_first_epoch or awaits_validation):
            return None  # the first value is still to come
        if monitor == "val/loss" and monitor not in metrics:
            return None  # the default, in a run that logs no such value: the newest is kept
        return monitored("ModelCheckpoint", monitor, metrics)

    def state_dict(self) -> dict[str, Any]:
        """The kept checkpoints with their scores, whether one waits for a validation, and whether the end was saved."""
        return self.kept.state_dict() | {
            "is_due": self._is_due,
            "has_saved": self._has_saved,
            "ended_at": self._ended_at,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the kept checkpoints; if training goes back to a checkpoint, those after it become superfluous."""
        self.kept.load_state_dict(state, is_running=self.folder is not None)
        # Older states lack these.
        self._is_due = state.get("is_due", False)
        self._has_saved = state.get("has_saved", self.kept.last is not None)
        self._ended_at = tuple(state.get("ended_at", ()))
