"""``kgenre test``: evaluate a checkpoint on the test films."""

from __future__ import annotations

from collections.abc import Sequence

from kgenre.cli.evaluate import run_stage


def run(arguments: Sequence[str]) -> int:
    """Evaluate on the test films of the checkpoint's split."""
    return run_stage("test", "test", arguments)
