"""Whether a run has found a better checkpoint since it was tested."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kgenre.checkpoints import CheckpointError, find_checkpoint, read_state
from kgenre.quoted_path import quoted_path


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
        best = read_state(find_checkpoint(run)).get("global_step", 0)
    except CheckpointError:
        return None
    return (int(tested), best) if best > tested else None


def outdated_test(name: str, tested: int | str, best: int | str, folder: Path) -> str:
    """What to say of it, and what to type."""
    return (
        f"{name}: tested at step {tested}, its best is now step {best}: kgenre test --ckpt_path {quoted_path(folder)}"
    )
