"""How many training steps run in one compiled call: chosen once per fit, fewer if something is due in between."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from kgenre.callbacks.callback import overrides_batch_hooks
from kgenre.engines import Engine
from kgenre.engines.devices import computing_devices
from kgenre.training.module import Module
from kgenre.tuning.step_times import fastest, restoring_state

if TYPE_CHECKING:
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")
# When "auto" runs several steps in a call:
MAX_STEPS_PER_CALL = 32
RECOMPILE_FACTOR = {"gpu": 0.25}  # relative compile time of a second program: a GPU's fastest kernels are known by then
MAX_STEP_SECONDS = 0.01  # overhead is a small part of longer steps, whose batches had better not be held back
MIN_UPDATES = 1000  # a shorter fit is over before a second program is compiled
INPUT_SECONDS_PER_STEP = 1e-4  # what a step takes in addition, mostly to read its batch
MAX_BYTES_PER_CALL = 2**28  # of its batches, as some are held in memory
# With any number of steps:
MAX_WAIT_SECONDS = 0.1  # for the others of a call, by which Ctrl-C is delayed too


def choose_steps_per_execution(trainer: Trainer, batch: Any) -> int:
    """Return the steps per call of this fit, by the Trainer's flag; 1 if several would not be faster, or not correct.

    A deterministic run does not let a measurement choose its program, whose rounding on a GPU may differ.

    Args:
        trainer: a trainer about to fit, its engine built and restored.
        batch: a training batch.
    """
    t, wanted = trainer, trainer.steps_per_execution
    if wanted == "auto" and t.deterministic:
        return 1
    resumes = t.resumed and t.chosen_steps_per_execution
    if wanted == 1 or (wanted == "auto" and not resumes and not _may_pay(t, batch)):
        return 1
    forced = _who_needs_each_step(t)
    reason = f"{forced} needs control after each step" if forced else t.engine.why_single_steps(batch)
    if reason:
        if wanted != "auto":
            _log.warning("steps_per_execution=%s is ignored: %s.", wanted, reason)
        return 1
    if wanted != "auto":  # a call ends with the epoch, and a shorter one is padded to the size of a full one
        return int(max(1, min(wanted, t.schedule.training_batches)))
    return resumes or _measure(t, batch)  # a resumed run keeps what it measured when it began


def _may_pay(trainer: Trainer, batch: Any) -> bool:
    import keras

    steps = _auto_steps(trainer)
    leaves = [leaf if hasattr(leaf, "dtype") else np.asarray(leaf) for leaf in keras.tree.flatten(batch)]
    dtypes = [keras.backend.standardize_dtype(leaf.dtype) for leaf in leaves]
    if steps < 2 or trainer.schedule.stepping_batches < MIN_UPDATES:
        return False
    if "string" in dtypes:  # a dtype of TensorFlow's that NumPy does not know
        return False
    pairs = zip(leaves, dtypes, strict=True)
    return steps * sum(np.dtype(dtype).itemsize * math.prod(leaf.shape) for leaf, dtype in pairs) <= MAX_BYTES_PER_CALL


def _auto_steps(trainer: Trainer) -> int:
    """How many steps "auto" runs in a call, such that few calls are cut short: 25 if logs are due every 50 steps."""
    schedule, every = trainer.schedule, trainer.log_every_n_steps
    most = int(min(MAX_STEPS_PER_CALL, schedule.training_batches, every))
    if schedule.accumulate_grad_batches > 1:  # the update is a call of its own
        most = min(most, schedule.accumulate_grad_batches - 1)
    whole = (number for number in range(most, MAX_STEPS_PER_CALL // 2, -1) if every % number == 0)
    return next(whole, most)


def _who_needs_each_step(trainer: Trainer) -> str | None:
    module = trainer.module
    if overrides_batch_hooks(module, Module):
        return f"{type(module).__name__}, which overrides a training batch hook,"
    for callback in trainer.callbacks:
        if callback.next_step_needed(trainer) == trainer.global_step + 1 and overrides_batch_hooks(callback):
            return type(callback).__name__
    return None


def _measure(trainer: Trainer, batch: Any) -> int:
    """Measure both ways on the run's own state, which is restored; return the number for the faster one."""
    engine, steps = trainer.engine, _auto_steps(trainer)
    with restoring_state(engine):
        alone = list(engine.prefetch([batch] * steps))
        compiling = _seconds_of_a_step(engine, alone[0])
        seconds = min(_seconds_of_a_step(engine, alone[0]) for _ in range(3))  # the machine may be busy for a moment
        compiling *= RECOMPILE_FACTOR.get(computing_devices(engine.options.devices)[0].partition(":")[0], 1.0)
        # A second program saves at most the time that all steps take, which must be well above its compile time.
        all_steps = (seconds + INPUT_SECONDS_PER_STEP) * trainer.schedule.stepping_batches
        if seconds > MAX_STEP_SECONDS or all_steps < 2 * compiling:
            return 1
        several = list(engine.prefetch([batch] * steps, at_once=steps))
        one, many = fastest(
            engine,
            lambda: [engine.train_step(batch) for batch in alone],
            lambda: engine.train_steps(several, steps),
        )
    chosen = steps if many < 0.9 * one else 1
    per_step = (1e3 * one / steps, 1e3 * many / steps, steps)
    _log.info("steps_per_execution=auto: %.3f ms per step, %.3f ms with %d steps in a call.", *per_step)
    return chosen


def _seconds_of_a_step(engine: Engine, batch: Any) -> float:
    begun = time.perf_counter()
    engine.train_step(batch)
    engine.epoch_logs("train")  # waits for the step
    return time.perf_counter() - begun


def grouped(trainer: Trainer, batches: Iterable[tuple[Any, bool]]) -> Iterator[tuple[list[Any], bool]]:
    """Group the batches that run in one call, and yield each group with whether it ends the epoch.

    A group ends where values are logged, validation is due, the optimizer starts or stops updating (accumulation), a
    callback needs control, the batches' structure, shapes or dtypes change, reading takes longer than
    `MAX_WAIT_SECONDS` (except in a deterministic run), or training ends.
    """
    if trainer.chosen_steps_per_execution == 1:
        for batch, is_last in batches:
            yield [batch], is_last
        return
    import keras

    def form_of(batch: Any) -> list[Any]:
        return [(path, leaf.shape, leaf.dtype) for path, leaf in keras.tree.flatten_with_path(batch)]

    source = iter(batches)
    held: tuple[Any, bool] | None = None
    failed: Exception | None = None
    while failed is None and (first := held or next(source, None)) is not None:
        group, is_last, held = [first[0]], first[1], None
        form, begun = form_of(group[0]), time.perf_counter()
        while not is_last and len(group) < trainer.chosen_steps_per_execution and not _is_due(trainer, len(group)):
            if not trainer.deterministic and time.perf_counter() - begun >= MAX_WAIT_SECONDS:
                break
            try:
                following = next(source, None)
            except Exception as error:  # train on the batches before the one that cannot be read
                failed = error
                break
            if following is None:
                break
            if following[1] or form_of(following[0]) != form:
                held = following
                break
            group.append(following[0])
        yield group, is_last
    if failed is not None:
        raise failed


def batches_at_once(trainer: Trainer, batches: Any) -> int:
    """How many batches to read at a time if several steps run in a call.

    From ``tf.data``, 1 while the time per batch is unknown, and if reading so many would be slow: they arrive together.
    """
    chosen, seconds = trainer.chosen_steps_per_execution, trainer.batch_seconds
    if not hasattr(batches, "as_numpy_iterator"):
        return chosen
    return chosen if seconds is not None and seconds * chosen < MAX_WAIT_SECONDS else 1


def _is_due(trainer: Trainer, batches: int) -> bool:
    """Whether a call must end after this many batches."""
    t, schedule = trainer, trainer.schedule
    done = t.batch_idx + batches
    updates = schedule.updates_after(done)
    if updates != schedule.updates_after(done + 1) or schedule.validates_inside(t.current_epoch, done):
        return True
    if not updates:
        return False
    step = t.global_step + batches
    return (
        step % t.log_every_n_steps == 0
        or schedule.steps_are_done(step)
        or any(callback.next_step_needed(t) <= step for callback in t.callbacks)
    )
