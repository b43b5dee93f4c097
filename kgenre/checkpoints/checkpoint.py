"""A checkpoint on disk: a folder of arrays and JSON, the same on every backend, written atomically.

``step=001240/`` holds ``weights.safetensors``, ``optimizer.safetensors`` and ``epoch.safetensors`` (arrays by
structural name; the last has the running sums of an unfinished epoch), ``state.json`` (counters, logs, callbacks,
hyperparameters, data) and ``manifest.json`` (schema, time, size and sha256 of the others). It is written to a temporary
folder next to its final path, synced to the disk and renamed, so a crash leaves the old state or the new, never a
mixture. Nothing in it can run code: no pickle, no Keras archives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kgenre.users_code import ShortTraceback

if TYPE_CHECKING:
    import numpy as np

REQUIRED = ("weights.safetensors", "optimizer.safetensors", "state.json")
FILES = (*REQUIRED, "manifest.json")


class CheckpointError(ShortTraceback, ValueError):
    """A checkpoint is missing, damaged or belongs to another model; the message names it."""


@dataclass
class Checkpoint:
    """A checkpoint's content, in memory.

    Args:
        weights: NumPy arrays of the module's variables by structural name, "model.layers.0.kernel".
        optimizer: likewise for the optimizers' variables; {} in a checkpoint of weights only.
        state: counters, callbacks, hyperparameters and the rest as JSON values.
        path: the folder that it was read from; None: not read from one.
        epoch: running sums of an unfinished epoch (see `Engine.epoch_state`).
    """

    weights: dict[str, np.ndarray]
    optimizer: dict[str, np.ndarray] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    epoch: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Weights and optimizer state together."""
        return self.weights | self.optimizer

    def copy(self) -> Checkpoint:
        """Return a deep copy, to be written while training continues."""
        import numpy as np

        parts = (self.weights, self.optimizer, self.epoch)
        # Copies: an array may be a view of memory that the next step overwrites.
        weights, optimizer, epoch = ({name: np.array(a) for name, a in part.items()} for part in parts)
        return Checkpoint(weights, optimizer, json.loads(self.state_as_json()), self.path, epoch)

    def state_as_json(self) -> str:
        """Return the content of ``state.json``; a TypeError names a value that JSON cannot hold."""
        return json.dumps(self.state, indent=1, default=_refused)


def _refused(value: Any) -> NoReturn:
    raise TypeError(
        f"A checkpoint's state is JSON, which cannot hold a {type(value).__name__}. Received: {str(value)[:40]!r}. "
        "Store only numbers, strings, lists and dicts in state_dict and on_save_checkpoint: float(x), array.tolist()."
    )


def check_weights(named: Mapping[str, Any], checkpoint: Checkpoint) -> None:
    """Check that a checkpoint's weights have the same names and shapes as a module's variables.

    Raises:
        CheckpointError: they differ; the message lists the first differences.
    """
    here = {name: tuple(variable.shape) for name, variable in named.items()}
    there = {name: array.shape for name, array in checkpoint.weights.items()}
    problems = [
        *(f"{name} is not in the checkpoint" for name in here if name not in there),
        *(f"{name} is not in the model" for name in there if name not in here),
        *(
            f"{name} is {there[name]} in the checkpoint and {shape} in the model"
            for name, shape in here.items()
            if there.get(name, shape) != shape
        ),
    ]
    if problems:
        others = len(problems) - 2
        more = f" (and {others} more difference{'s' * (others > 1)})" if others > 0 else ""
        raise CheckpointError(
            f"Checkpoint {checkpoint.path} belongs to a different model: {'; '.join(problems[:2])}{more}."
        )
