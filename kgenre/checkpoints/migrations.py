"""Convert checkpoints of older schemas when they are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kgenre.checkpoints.checkpoint import Checkpoint

SCHEMA = 2


def migrate(checkpoint: Checkpoint, schema: int) -> None:
    """Convert a checkpoint of an older schema to the current one, in memory, one schema at a time."""
    for older in range(schema, SCHEMA):
        MIGRATIONS[older](checkpoint)


def _to_2(checkpoint: Checkpoint) -> None:
    """Add what schema 1 lacked: logged values, random states and batch shapes; sums of an epoch stay empty."""
    checkpoint.state.setdefault("logs", None)
    checkpoint.state.setdefault("random", None)
    checkpoint.state.setdefault("batches", {})


# A change to a checkpoint's content increments SCHEMA and adds the conversion from the previous schema here.
MIGRATIONS: dict[int, Callable[[Checkpoint], None]] = {1: _to_2}
