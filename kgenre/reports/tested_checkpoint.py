"""The checkpoint that a run was tested with, and whether the run has found a better one since."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from kgenre import checkpoints
from kgenre.quoted_path import quoted_path
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


def newer_best(metrics: Mapping[str, Any], run: Path) -> tuple[int, int] | None:
    """Return the tested step and that of the run's best checkpoint if it is later; None if not, or if one is unknown.

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
    return (int(tested), best) if best > tested else None


def outdated_test_message(name: str, tested: int | str, best: int | str, folder: Path) -> str:
    """Return the warning about an outdated test, with the command that renews it."""
    return (
        f"{name} was tested at step {tested}, but its best checkpoint is now step {best}: "
        f"kgenre test --ckpt_path {quoted_path(folder)}"
    )


def outdated_tests(runs: Sequence[Run], numbers: Numbers) -> list[str]:
    """Return, and log, a warning about each run that found a better checkpoint after its test."""
    said = []
    for run in runs:
        if steps := newer_best(run.metrics, run.trained_in):
            tested, best = numbers.of(run, "test/step"), numbers.about(run, "best step", steps[1], "d")
            on_other_films = " --data.path FOLDER" if run.folder != run.trained_in else ""
            said.append(outdated_test_message(run.name, tested, best, run.trained_in) + on_other_films)
            _log.warning("%s", said[-1])
    return said
