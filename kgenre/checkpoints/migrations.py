"""Older checkpoints, brought to the present schema when they are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kgenre.checkpoints.checkpoint import Checkpoint

SCHEMA = 2


def migrate(checkpoint: Checkpoint, schema: int) -> None:
    """Change a checkpoint of an older schema, in memory, into one of this version's, a schema at a time."""
    for older in range(schema, SCHEMA):
        MIGRATIONS[older](checkpoint)


def _to_2(checkpoint: Checkpoint) -> None:
    """Schema 1 kept no sums, logged values, random states and shapes: an epoch went on with none."""
    checkpoint.state.setdefault("logs", None)
    checkpoint.state.setdefault("random", None)
    checkpoint.state.setdefault("batches", {})


# A change of what a checkpoint holds raises SCHEMA and adds here what makes one of the schema before into one of it.
MIGRATIONS: dict[int, Callable[[Checkpoint], None]] = {1: _to_2}
