"""Checkpoints on disk: written atomically, verified when they are read."""

from kgenre.checkpoints.background_writer import BackgroundWriter
from kgenre.checkpoints.checkpoint import Checkpoint, CheckpointError, check_weights
from kgenre.checkpoints.find import checkpoints_by_age, find_checkpoint, newest_checkpoint, run_folders, write_pointer
from kgenre.checkpoints.leftovers import leftovers, remove_leftovers
from kgenre.checkpoints.read import read_checkpoint, read_state
from kgenre.checkpoints.removal import remove_checkpoint, wait_for_removals
from kgenre.checkpoints.write import write_checkpoint

__all__ = [
    "BackgroundWriter",
    "Checkpoint",
    "CheckpointError",
    "check_weights",
    "checkpoints_by_age",
    "find_checkpoint",
    "leftovers",
    "newest_checkpoint",
    "read_checkpoint",
    "read_state",
    "remove_checkpoint",
    "remove_leftovers",
    "run_folders",
    "wait_for_removals",
    "write_checkpoint",
    "write_pointer",
]
