"""The checkpoint that a run was tested with, and whether the run has found a better one since."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from kgenre import checkpoints
from kgenre.quoted_path import quoted_path
from kgenre.reports.run import Run

_log = logging.getLogger("kgenre")


def checkpoint_of_test(run: Run) -> Path:
    """The one of the tested step, to ask its weights why they said what they said.

    The run's best where there is none any more, or the test did not say which it was.

    Raises:
        CheckpointError: the run has no checkpoint.
    """
    best, step = checkpoints.find_checkpoint(run.trained_in), run.metrics.get("test/step")
    if step is None:  # an older version's
        return best
    for path in (best, *checkpoints.checkpoints_by_age(run.trained_in / "checkpoints")):
        with suppress(checkpoints.CheckpointError):
            if checkpoints.read_state(path).get("global_step") == step:
                return path
    _log.warning(
        "%s: there is no checkpoint of the tested step, %d, any more: the explanations are those of the best one.",
        run.name,
        step,
    )
    return best


def newer_best(metrics: Mapping[str, Any], run: Path) -> tuple[int, int] | None:
    """The step that was tested and the later one of the run's best checkpoint; None: the test is of the best, or older.

    Args:
        metrics: ``metrics.json`` of the test, with ``test/step`` (tests of older versions did not write it).
        run: the folder with the checkpoints.
    """
    tested = metrics.get("test/step")
    if tested is None:
        return None
    try:
        best = checkpoints.read_state(checkpoints.find_checkpoint(run)).get("global_step", 0)
    except checkpoints.CheckpointError:
        return None
    return (int(tested), best) if best > tested else None


def outdated_test(name: str, tested: int | str, best: int | str, folder: Path) -> str:
    """What to say of it, and what to type."""
    return (
        f"{name} was tested at step {tested}, but its best checkpoint is now step {best}: "
        f"kgenre test --ckpt_path {quoted_path(folder)}"
    )
