"""The fit loop, written to be read from top to bottom."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice, pairwise
from time import perf_counter
from typing import TYPE_CHECKING, Any

from kgenre.training.data_module import EpochBatches, iterate_epoch
from kgenre.training.evaluation_loop import evaluate
from kgenre.training.limits import exhausted_source_error, length_of
from kgenre.training.open_run import open_loggers
from kgenre.training.results import Results
from kgenre.training.resume import restore, restore_logs, restore_own_states, restore_trainable, resume_step
from kgenre.training.stage import add_stages, load_epoch, load_sources
from kgenre.training.steps_per_execution import batches_at_once, grouped

if TYPE_CHECKING:
    from kgenre.checkpoints import Checkpoint
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


def fit_loop(trainer: Trainer) -> None:
    """Run the epochs: a step for each batch, and validation, hooks and logging where they are due.

    A step enqueues work and returns: nothing here waits for the device, except where values are read (every
    ``log_every_n_steps``, one logging interval late, and at the end of an epoch or validation).
    """
    t, hooks, engine, results = trainer, trainer.hooks, trainer.engine, trainer.results
    schedule = t.schedule
    kept: list[Any] = []  # of ``overfit_batches``

    if not schedule.training_batches:
        _log.info("fit stopped: limit_train_batches=%s leaves nothing to train on.", t.limits["train"])
        return
    if schedule.validates and t.num_sanity_val_steps and not t.resumed:
        sanity_check(t)

    if t.resumed and not t.batch_idx and schedule.is_done(t.current_epoch, t.global_step):
        _log.warning(
            "Nothing is left to train: epochs done: %d, steps: %d, with max_epochs=%s, max_steps=%s. "
            "Increase max_epochs or max_steps.",
            t.current_epoch,
            t.global_step,
            t.max_epochs,
            t.max_steps,
        )
    _warn_of_a_missing_curve(t)
    hooks.on_train_start()
    while (steps_are_left := not is_over(t)) or t.batch_idx:  # an interrupted epoch still has to be ended
        # --- an epoch begins, or continues from the checkpoint ---------------------------------------------------
        if t.loaded_in_epoch != load_epoch(t):  # also after resuming from a checkpoint, or going back to one
            load_sources(t)
            add_stages(t)
        hooks.on_train_epoch_start()
        steps_are_left = steps_are_left and not is_over(t)  # the hook may have stopped the fit
        engine.built.warn_of_changes()
        engine.pull()
        schedule = t.schedule  # the sources may be new, or a hook changed the accumulation
        # Gradients of an incomplete group (a hook skipped its rest) do not outlive their epoch: {} drops them.
        saved, t.saved_epoch = t.saved_epoch if t.batch_idx else {}, None
        results.start_epoch(engine, "train", t.batch_idx, saved)
        t.epoch_is_done = results.is_provisional = False
        if t.batch_idx and t.validated_at != position(t) and schedule.validates_inside(*position(t)):
            run_validation(t)  # the run was interrupted between a step and its validation
            steps_are_left = not is_over(t)
        if t.overfit_batches and not isinstance(t.train_source, EpochBatches):
            # Kept: a tf.data shuffle or a DataLoader would give others in each epoch.
            kept = kept or list(islice(iterate_epoch(t.train_source, 0), schedule.remaining(0)))
            batches: Iterable[Any] = kept[t.batch_idx :]
        else:
            batches = iterate_epoch(t.train_source, 0 if t.overfit_batches else t.current_epoch, t.batch_idx)
        remaining = schedule.remaining(t.batch_idx)
        begun_at, waited = t.batch_idx, t.input_seconds
        batches = _timed(t, engine.prefetch(batches, remaining, at_once=batches_at_once(t, batches)))
        length_is_known = not math.isinf(length_of(t.train_source))
        # A source of unknown length may end with an incomplete group of accumulated batches: its last one must update.
        # And the user's hooks of batches may ask for `is_last_batch`.
        looks_ahead = not length_is_known and (
            schedule.accumulate_grad_batches > 1 or hooks.has_users_batch_hooks("train")
        )
        # A group is the batches of one compiled call: one, or several with steps_per_execution.
        groups = grouped(t, _marked(batches, looks_ahead))
        for group, is_last in groups if steps_are_left else ():
            first = t.batch_idx
            t.is_last_batch = is_last or first + len(group) == schedule.training_batches
            results.hooks_batch = "train", group[0]
            skips_rest = any(hooks.on_train_batch_start(batch, first + i) == -1 for i, batch in enumerate(group))
            results.hooks_batch = None
            if skips_rest:
                t.epoch_is_done = True
                break

            # --- the step, or the steps --------------------------------------------------------------------------
            update = is_last or schedule.updates_after(first + 1)
            if t.chosen_steps_per_execution == 1:
                outputs, values = engine.train_step(group[0], update=update)
            else:
                outputs, values = {}, engine.train_steps(group, t.chosen_steps_per_execution, update=update)
            t.batch_idx += len(group)
            t.new_folder = None  # from here on the run's folder is kept
            results.note_step(engine, values)
            if update:
                t.global_step += len(group)
            t.logs_are_due = update and t.global_step % t.log_every_n_steps == 0
            if t.logs_are_due:
                results.add_step(engine, values, t.global_step)
            results.hooks_batch = "train", group[0]
            for i, batch in enumerate(group):
                hooks.on_train_batch_end(outputs, batch, first + i)
            results.hooks_batch = None
            if t.logs_are_due:
                results.write(t.global_step)  # what hooks have logged
                t.logs_are_due = False
            t.stop_signal.raise_if_received()

            # --- validation inside the epoch, and reasons to stop ------------------------------------------------
            if t.pending_rollback:
                break
            if schedule.validates_inside(t.current_epoch, t.batch_idx):
                run_validation(t)
            if is_over(t):
                t.epoch_is_done = not length_is_known and _is_spent(groups)
                break
        else:
            t.epoch_is_done = steps_are_left or (not length_is_known and _is_spent(groups))
            if steps_are_left and not t.batch_idx:
                raise exhausted_source_error("train")
        t.epoch_is_done = t.epoch_is_done or t.batch_idx >= schedule.training_batches
        t.batch_seconds = (t.input_seconds - waited) / max(1, t.batch_idx - begun_at)

        if t.pending_rollback is not None:
            go_back(t, t.pending_rollback)
            continue

        # --- the epoch ends --------------------------------------------------------------------------------------
        results.write_pending(engine)
        results.is_provisional = not t.epoch_is_done
        results.add_epoch(engine, "train", is_empty=not t.batch_idx)
        engine.sync()
        if t.epoch_is_done and t.validated_at != position(t) and schedule.validates_at_end(*position(t)):
            run_validation(t)
        hooks.on_train_epoch_end()
        if t.pending_rollback is not None:
            go_back(t, t.pending_rollback)
            continue
        results.write(t.global_step)
        if not t.epoch_is_done:
            break
        t.schedule = replace(t.schedule, batches_before=t.schedule.batches_before + t.batch_idx)
        t.current_epoch, t.batch_idx, t.epoch_is_done = t.current_epoch + 1, 0, False

    t.stop_signal.raise_if_received()  # it came after the last batch
    hooks.on_train_end()


def go_back(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Return to the checkpoint that a callback requested, curves included."""
    t = trainer
    t.pending_rollback = None
    restore_own_states(t, checkpoint)
    restore(t, checkpoint)
    restore_trainable(t, checkpoint)
    open_loggers(t, resume_step(checkpoint))
    restore_logs(t, checkpoint)


def _warn_of_a_missing_curve(trainer: Trainer) -> None:
    """Warn if the fit ends before a step's values are due, where no value of an epoch makes a curve instead."""
    t, every, updates = trainer, trainer.log_every_n_steps, trainer.estimated_stepping_batches
    entries = [*t.engine.built.entries["train"], *t.engine.built.metrics["train"]]
    shown = [entry for entry in entries if entry.logger]
    if (
        t.results.loggers
        and shown
        and not any(entry.on_epoch for entry in shown)
        and not math.isinf(every)  # 0 was given: never
        and t.global_step // every == updates // every
    ):
        _log.warning(
            "This fit ends after %d updates, but step values are logged every %d: there will be no curve of %s. Set "
            "Trainer(log_every_n_steps=1), or log it with on_epoch=True.",
            updates,
            every,
            shown[0].name,
        )


def position(trainer: Trainer) -> tuple[int, int]:
    """The current epoch, and how many of its batches are done."""
    return trainer.current_epoch, trainer.batch_idx


def is_over(trainer: Trainer) -> bool:
    """Whether no more steps follow: ``max_epochs`` or ``max_steps`` is reached, or the fit was stopped."""
    return _is_stopped(trainer) or trainer.schedule.is_done(trainer.current_epoch, trainer.global_step)


def _is_stopped(trainer: Trainer) -> bool:
    """Whether ``should_stop`` is set, and ``min_epochs`` and ``min_steps`` are reached."""
    t = trainer
    if not t.should_stop or t.schedule.may_stop(t.current_epoch, t.global_step):
        return t.should_stop
    if not t.stop_is_put_off:
        t.stop_is_put_off = True
        _log.info(
            "Asked to stop at epoch %d, step %d, but min_epochs=%d and min_steps=%d are not both reached: "
            "training continues until they are.",
            t.current_epoch + 1,
            t.global_step,
            t.min_epochs,
            t.min_steps,
        )
    return False


def _timed(trainer: Trainer, batches: Iterable[Any]) -> Iterator[Any]:
    """Yield the batches, adding the seconds that the loop waits for them to ``trainer.input_seconds``."""
    iterator, end = iter(batches), object()
    while True:
        begun = perf_counter()
        batch = next(iterator, end)
        trainer.input_seconds += perf_counter() - begun
        if batch is end:
            return
        yield batch


def _marked(batches: Iterable[Any], look_ahead: bool) -> Iterator[tuple[Any, bool]]:
    """Each batch, and whether it is known to be the last, for which the next batch must be read first."""
    if not look_ahead:
        return ((batch, False) for batch in batches)
    end = object()
    return ((batch, following is end) for batch, following in pairwise(chain(batches, [end])))


def _is_spent(batches: Iterator[Any]) -> bool:
    """Whether the iterator is exhausted. If reading fails, there was more, but training is over and needs none."""
    try:
        return next(batches, None) is None
    except Exception:
        return False


def run_validation(trainer: Trainer) -> None:
    """Run validation in the middle or at the end of an epoch."""
    trainer.validated_at = position(trainer)
    trainer.results.write_pending(trainer.engine)
    trainer.engine.sync()
    restore_state = _state_now(trainer)
    try:
        evaluate(trainer, "validation", trainer.val_sources)
    except BaseException:
        # Saved in a checkpoint: a resumed run validates again, and draws the same numbers.
        trainer.validated_at = None
        restore_state()
        raise
    trainer.engine.pull()


def sanity_check(trainer: Trainer) -> None:
    """Run a few validation batches before training, so that a mistake there shows now and not after an epoch."""
    restore_state = _state_now(trainer)
    results, trainer.results = trainer.results, Results()
    trainer.results.callback |= results.callback
    trainer.state.stage = "sanity_check"
    try:
        trainer.hooks.on_sanity_check_start()
        wanted = trainer.num_sanity_val_steps
        evaluate(trainer, "validation", trainer.val_sources, limit=math.inf if wanted == -1 else wanted)
        trainer.hooks.on_sanity_check_end()
    finally:
        trainer.state.stage, trainer.results = "train", results  # the values of the check are discarded
    restore_state()  # training begins as it would without the check


def _state_now(trainer: Trainer) -> Callable[[], None]:
    """Return a function that sets back what validation steps change: random generators, and variables they assign."""
    engine, built = trainer.engine, trainer.engine.built
    assigned = set().union(*(built.assigned.get(one.stage, ()) for one in trainer.val_sources))
    variables = [v for v in built.variables.values() if v.name == "seed_generator_state" or id(v) in assigned]
    values = list(map(engine.get_variable, variables))

    def restore() -> None:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    return restore
