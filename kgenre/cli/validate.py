"""``kgenre validate``: evaluate a checkpoint on the validation films."""

from __future__ import annotations

from collections.abc import Sequence

from kgenre.cli.evaluate import run_stage


def run(arguments: Sequence[str]) -> int:
    """Evaluate on the validation films of the checkpoint's split."""
    return run_stage("validate", "validation", arguments)
