"""The checkpoint whose weights a run was tested with, to ask them why they said what they said."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from kgenre import checkpoints
from kgenre.reports.run import Run

_log = logging.getLogger("kgenre")


def checkpoint_of_test(run: Run) -> Path:
    """The one of the tested step; the run's best where there is none any more, or the test did not say which it was.

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
    _log.warning("%s: no checkpoint is of the tested step, %d: what the best one sees is shown.", run.name, step)
    return best
