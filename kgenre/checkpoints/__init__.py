"""Checkpoints on disk: written whole or not at all, verified before they are read."""

from kgenre.checkpoints.checkpoint import (
    Checkpoint,
    CheckpointError,
    check_weights,
    read_checkpoint,
    read_state,
    write_checkpoint,
)
from kgenre.checkpoints.find import find_checkpoint, newest_checkpoint, write_pointer

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "check_weights",
    "find_checkpoint",
    "newest_checkpoint",
    "read_checkpoint",
    "read_state",
    "write_checkpoint",
    "write_pointer",
]
