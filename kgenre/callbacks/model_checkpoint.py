"""Save checkpoints: the newest, the best, and pointers to both."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kgenre.callbacks.callback import Callback
from kgenre.callbacks.checkpoint_name import FIELD, check_template, checkpoint_name
from kgenre.callbacks.checkpoint_saver import CheckpointSaver
from kgenre.callbacks.kept_checkpoints import KeptCheckpoints
from kgenre.callbacks.logged_names import check_logged, other_spelling
from kgenre.callbacks.monitor import monitored
from kgenre.callbacks.save_times import SaveTimes
from kgenre.checkpoints import checkpoints_by_age, remove_checkpoint, write_pointer
from kgenre.lightning_arguments import explain_arguments

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")

_FIRST_SET_LOSS = "val/loss/dataloader_idx_0"


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
        save_last: keep the newest one, to resume from, at least that of the end of the fit; False or None: only as
            long as no checkpoint is ranked.
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

    @explain_arguments
    def __init__(
        self,
        monitor: str | None = "val/loss",
        mode: Literal["min", "max"] = "min",
        save_top_k: int = 1,
        save_last: bool | None = True,
        every_n_epochs: int | None = None,
        save_weights_only: bool = False,
        every_n_train_steps: int | None = None,
        train_time_interval: str | timedelta | dict[str, float] | None = None,
        save_on_exception: bool = False,
        filename: str | None = None,
        async_save: bool = False,
        on_save_error: Literal["raise", "warn"] = "raise",
    ) -> None:
        if save_top_k < -1:
            raise ValueError(f"ModelCheckpoint takes save_top_k >= -1. Received: save_top_k={save_top_k}")
        if monitor is None and save_top_k > 1:
            raise ValueError(
                f"ModelCheckpoint(monitor=None, save_top_k={save_top_k}): nothing ranks the checkpoints. Pass a "
                "monitor, or save_top_k=-1, 0 or 1."
            )
        self.monitor = monitor
        self.mode = mode
        self.save_top_k = save_top_k
        self.save_last = save_last
        self.times = SaveTimes(every_n_epochs, every_n_train_steps, train_time_interval)
        self.save_on_exception = save_on_exception
        self.filename = "{step:06d}" if filename is None else check_template(filename)
        self.save_weights_only = save_weights_only
        self.kept = KeptCheckpoints(int(save_top_k), mode)  # a NumPy number would not fit in a checkpoint's JSON
        self._saver = CheckpointSaver(self.kept, async_save, on_save_error)
        self.folder: Path | None = None
        self._others: list[ModelCheckpoint] = []
        self._own_pointers: set[str] = set()  # the pointers that this callback writes
        self._has_saved = False  # a checkpoint that was due, not only where training was interrupted or ended

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
    def best_k_models(self) -> dict[Path, float]:
        """The values of ``monitor`` of the best checkpoints that are kept (``save_top_k``), the best one first."""
        return {self.folder / name: score for name, score in self.kept.ranking.items()} if self.folder else {}

    @property
    def dirpath(self) -> Path | None:
        """The folder of the checkpoints, ``<run>/checkpoints``."""
        return self.folder

    @property
    def last_model_path(self) -> Path | None:
        """The newest checkpoint."""
        return self.folder / self.kept.last if self.folder and self.kept.last else None

    def setup(self, trainer: Trainer, module: Module, stage: str) -> None:
        """Forget the checkpoints of an earlier fit: they may belong to another run."""
        if stage == "fit":
            self.folder, self.times.is_due, self._has_saved = None, False, False
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
        self._saver.start_fit()
        assert trainer.run_dir is not None  # a fit with a ModelCheckpoint has a folder
        self.folder = trainer.run_dir / "checkpoints"
        everyone = [callback for callback in trainer.callbacks if isinstance(callback, ModelCheckpoint)]
        self._others = [callback for callback in everyone if callback is not self]
        ranking = [callback for callback in everyone if callback.monitor is not None and callback.save_top_k]
        self._own_pointers = {"best"} if self in ranking[:1] else set()
        if not self.save_weights_only or all(callback.save_weights_only for callback in everyone):
            self._own_pointers.add("last")
        self.kept.forget_missing(self.folder)
        if self.kept.last and checkpoints_by_age(self.folder)[:1] == [self.folder / self.kept.last]:
            self._set_pointers(self.folder)  # the run was killed before it set them to the newest checkpoint
        for name in self.kept.superfluous:  # the run was killed before it removed them
            remove_checkpoint(self.folder / name)

    def _set_pointers(self, folder: Path) -> None:
        for pointer, target in (("last", self.kept.last), ("best", self.kept.best)):
            if target and pointer in self._own_pointers:
                write_pointer(folder, pointer, folder / target)

    def on_train_start(self, trainer: Trainer, module: Module) -> None:
        """Start counting updates and time."""
        self.times.start(trainer.global_step)

    def on_load_checkpoint(self, trainer: Trainer, module: Module, checkpoint: dict[str, Any]) -> None:
        """Start counting anew from there, also if training goes back to a checkpoint."""
        self.times.start(trainer.global_step)

    def next_step_needed(self, trainer: Trainer) -> float:
        """Request the update after which a checkpoint by steps is due."""
        return self.times.next_step(trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, module: Module, outputs: dict[str, Any], batch: Any, batch_idx: int
    ) -> None:
        """Save if a checkpoint is due by steps or by time, unless a validation comes first."""
        self.times.note(trainer.global_step)
        schedule, batches = trainer.schedule, trainer.batch_idx
        # At an epoch's end, or where a validation is due, save after it: its values rank the checkpoint.
        waits = batches >= schedule.training_batches or schedule.validates_inside(trainer.current_epoch, batches)
        if self.times.is_due and not waits:
            self._save(trainer)

    def on_validation_end(self, trainer: Trainer, module: Module) -> None:
        """Save after a validation inside an epoch, which has just logged its values."""
        is_inside = trainer.stage == "fit" and not trainer.sanity_checking and not trainer.epoch_is_done
        if is_inside and self.times.is_due_in(trainer.current_epoch):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """Save at the end of an epoch, after all other hooks."""
        is_new = trainer.epoch_is_done or not self._is_saved_here(trainer)
        if is_new and self.times.is_due_in(trainer.current_epoch):
            self._save(trainer)
        elif _is_last_epoch(trainer):  # before hooks of the end of training change the weights, as `EarlyStopping` does
            self._save_last(trainer)

    def finish(self) -> None:
        """Wait until nothing is being written."""
        self._saver.wait()

    def on_train_end(self, trainer: Trainer, module: Module) -> None:
        """Wait until the last checkpoint is on the disk; with ``save_last``, save one if none was due yet."""
        self._save_last(trainer)
        self.finish()

    def _save_last(self, trainer: Trainer) -> None:
        """With ``save_last``, save at the end of the fit if none was due yet."""
        is_saved = (self._has_saved and self.kept.last) or self._is_saved_here(trainer)
        if self.save_last and not is_saved and trainer.global_step:
            self._save(trainer, is_due=False)

    def on_exception(self, trainer: Trainer, module: Module, exception: BaseException) -> None:
        """Save where training was interrupted: after a signal, or after an error with ``save_on_exception``."""
        if trainer.stage != "fit" or self.folder is None:
            return
        for callback in (self, *self._others):
            callback._saver.wait("warn")  # the exception is what the user should see
        stop = trainer.stop_signal
        is_like_ctrl_c = isinstance(exception, KeyboardInterrupt) and stop.receives_ctrl_c
        wanted = (self.save_on_exception or is_like_ctrl_c) and not stop.is_urgent
        if not trainer.global_step or not (wanted or stop.saves):
            return
        resumable = [self, *(callback for callback in self._others if not callback.save_weights_only)]
        if saved := [callback.last_model_path for callback in resumable if callback._is_saved_here(trainer)]:
            # An epoch's first hooks (a new rate) may have run since; a run resumed from here would run them again.
            _log.info("Nothing is saved: no step was made since %s.", saved[0])
        elif trainer.engine.has_lost_steps:  # a run resumed from here would skip their batches
            newest = self.last_model_path or "none"
            _log.warning("Nothing is saved: the weights lack the last steps. The newest checkpoint: %s", newest)
        else:
            # The rest of the epoch (validation, hooks) may not have run yet: the resumed run does it.
            trainer.epoch_is_done = False
            self._write(trainer, score=None, interrupted=True)
            self._saver.wait("warn")
            _log.info("Saved where training was interrupted: %s", self.last_model_path)

    def _is_saved_here(self, trainer: Trainer) -> bool:
        """Whether no batch was trained since the newest checkpoint."""
        return self.kept.last is not None and self.kept.last_at in (_position(trainer), _resume_position(trainer))

    def _save(self, trainer: Trainer, is_due: bool = True) -> None:
        self.times.note_save()
        assert self.folder is not None  # see on_fit_start
        self._saver.wait()
        self.kept.forget_missing(self.folder)
        score = self._score(trainer)
        keeps = self.kept.is_among_best(score) and not self._is_already_ranked(score, trainer)
        # Keep the newest one until one is ranked.
        has_none = self.save_top_k > 0 and self.kept.best is None
        if not (keeps or has_none or self.save_last or self.save_top_k == -1):
            return
        self._has_saved = self._has_saved or is_due
        self._write(trainer, score if keeps else None)

    def _is_already_ranked(self, score: float | None, trainer: Trainer) -> bool:
        """Whether the score comes from a validation that has already ranked another checkpoint."""
        is_new = trainer.validated_at == (trainer.current_epoch, trainer.batch_idx) or not trainer.schedule.validates
        return not is_new and score in self.kept.scores.values()

    def _write(self, trainer: Trainer, score: float | None, interrupted: bool = False) -> None:
        """Write the newest checkpoint, with a score if it is among the best."""
        folder = self.folder
        assert folder is not None  # see on_fit_start
        name = self._free_name(trainer, folder, score)
        self.kept.add(name, score, None if interrupted else _resume_position(trainer))
        try:
            checkpoint = trainer.dump_checkpoint(self.save_weights_only)
            # `LossWatch` found a bad loss, perhaps while the state was collected.
            if trainer.has_diverged or trainer.pending_rollback is not None:
                self.kept.undo_add()
                return
            targets = {"last": name}
            if score is not None and self.kept.best is not None:
                targets["best"] = self.kept.best
            pointers = {pointer: target for pointer, target in targets.items() if pointer in self._own_pointers}
            self._saver.save(checkpoint, folder, pointers, "warn" if interrupted else "")
        except BaseException:  # a hook's error, or Ctrl-C while it is being written
            self.kept.undo_add()
            raise

    def _free_name(self, trainer: Trainer, folder: Path, score: float | None) -> str:
        metrics = trainer.callback_metrics
        is_between = not (trainer.batch_idx or trainer.epoch_is_done)  # between epochs: name it after the finished one
        epoch = trainer.current_epoch - is_between
        name = free = checkpoint_name(self.filename, epoch, trainer.global_step, metrics)
        version = 0
        taken = {name for other in self._others for name in other.kept.names}
        if score is None and not self._is_saved_here(trainer):
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
        """The kept checkpoints, whether one is due that waits for a validation, and whether a due one was saved.

        The arguments tell it apart from another one with this ``monitor``.
        """
        times = self.times
        arguments = {"mode": self.mode, "filename": self.filename, "save_weights_only": self.save_weights_only}
        arguments |= {"epochs": times.epochs, "steps": times.steps, "seconds": times.seconds}
        return self.kept.state_dict() | {"is_due": times.is_due, "has_saved": self._has_saved, "arguments": arguments}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the kept checkpoints; if training goes back to a checkpoint, those after it become superfluous."""
        self.kept.load_state_dict(state, is_running=self.folder is not None)
        # Older states lack these.
        self.times.is_due = state.get("is_due", False)
        self._has_saved = state.get("has_saved", self.kept.last is not None)


def _is_last_epoch(trainer: Trainer) -> bool:
    """Whether the fit is over after the epoch that ends now; one that ends before all its batches are done is."""
    t, done = trainer, trainer.current_epoch + 1
    is_stopped = t.should_stop and t.schedule.may_stop(done, t.global_step)
    return not t.epoch_is_done or is_stopped or t.schedule.is_done(done, t.global_step)


def _position(trainer: Trainer) -> tuple[int, int, int]:
    """The epoch, how many of its batches are done, and the number of optimizer updates."""
    return trainer.current_epoch, trainer.batch_idx, trainer.global_step


def _resume_position(trainer: Trainer) -> tuple[int, int, int]:
    """Where a run continues that is resumed from a checkpoint of now: after a whole epoch with the next one."""
    return (trainer.current_epoch + 1, 0, trainer.global_step) if trainer.epoch_is_done else _position(trainer)
