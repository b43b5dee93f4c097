"""The checkpoint that a run was tested with, and whether it is the run's best one."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from kgenre import checkpoints
from kgenre.quoted_path import quoted_path
from kgenre.reports.learning_curve import epochs_trained, learning_curve
from kgenre.reports.numbers import Numbers
from kgenre.reports.run import Run

_log = logging.getLogger("kgenre")


def checkpoint_of_test(run: Run) -> Path:
    """Return the checkpoint of the tested step, whose weights made the predictions to explain.

    The run's best checkpoint if that one no longer exists, or if the test did not record its step.

    Raises:
        CheckpointError: the run has no checkpoint.
    """
    best, step = checkpoints.find_checkpoint(run.trained_in), run.metrics.get("test/step")
    if step is None:  # tested by an older version
        return best
    for path in (best, *checkpoints.checkpoints_by_age(run.trained_in / "checkpoints")):
        with suppress(checkpoints.CheckpointError):
            if checkpoints.read_state(path).get("global_step") == step:
                return path
    _log.warning(
        "%s: the checkpoint of the tested step, %d, no longer exists: the explanations are those of the best one.",
        run.name,
        step,
    )
    return best


def untested_best(metrics: Mapping[str, Any], run: Path) -> tuple[int, int] | None:
    """Return the tested step and that of the run's best checkpoint if they differ; None if not, or if one is unknown.

    Args:
        metrics: ``metrics.json`` of the test, with ``test/step`` (not written by older versions).
        run: folder with the checkpoints.
    """
    tested = metrics.get("test/step")
    if tested is None:
        return None
    try:
        best = checkpoints.read_state(checkpoints.find_checkpoint(run)).get("global_step", 0)
    except checkpoints.CheckpointError:
        return None
    return (int(tested), best) if best != tested else None


def untested_best_message(name: str, tested: int | str, best: int | str, folder: Path) -> str:
    """Return the warning that another checkpoint than the best was tested, with the command that tests the best."""
    return (
        f"{name} was tested at step {tested}, but its best checkpoint is step {best}: "
        f"kgenre test --ckpt_path {quoted_path(folder)}"
    )


def untested_bests(runs: Sequence[Run], numbers: Numbers) -> list[str]:
    """Return, and log, a warning about each run of which another checkpoint than its best was tested."""
    said = []
    for run in runs:
        if steps := untested_best(run.metrics, run.trained_in):
            tested, best = numbers.of(run, "test/step"), numbers.about(run, "best step", steps[1], "d")
            if run.epochs:
                of_tested, of_best = (round(epoch, 2) for epoch in epochs_trained(run, steps))
                tested += f" (epoch {numbers.about(run, 'tested epoch', of_tested, 'g')})"
                best += f" (epoch {numbers.about(run, 'epoch of the best checkpoint', of_best, 'g')})"
            on_other_films = " --data.path FOLDER" if run.folder != run.trained_in else ""
            said.append(untested_best_message(run.name, tested, best, run.trained_in) + on_other_films)
            _log.warning("%s", said[-1])
    return said


def tested_epoch(run: Run) -> float | None:
    """Return the epoch of the tested weights; None if it is unknown, or is the one with the lowest validation loss.

    The best checkpoint may have been chosen by another metric, such as mAP.
    """
    curve, step = learning_curve(run), run.metrics.get("test/step")
    if curve is None or step is None:
        return None
    epoch = round(epochs_trained(run, [step])[0], 2)
    return epoch if epoch != curve.best_epoch else None


def chosen_on_validation(runs: Sequence[Run]) -> str:
    """Return what was chosen on the validation films in all runs, such as "the epoch was chosen"; "" for nothing."""
    best_tested = all(
        untested_best(run.metrics, run.trained_in) is None and (run.is_fused or learning_curve(run)) for run in runs
    )
    tuned = all("test/threshold" in run.metrics for run in runs)
    return {
        (True, True): "the epoch and the thresholds were chosen",
        (True, False): "the epoch was chosen",
        (False, True): "the thresholds were chosen",
        (False, False): "",
    }[best_tested, tuned]
