"""What a step logs: ``Module.log`` stores tensors here while the step is traced, and the engine returns them.

The static part of a record (`LogEntry`) is known when the step is traced and never touches the device. The values of
one step leave the compiled function as one array; the sums over an epoch stay on the device as two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from numbers import Number
from typing import Any

import numpy as np

_current: ContextVar[StepLogs | None] = ContextVar("current_step_logs", default=None)


@dataclass(frozen=True)
class LogEntry:
    """One ``self.log`` call of a step: its name and where its value goes."""

    name: str
    on_step: bool = False
    on_epoch: bool = True
    prog_bar: bool = False
    logger: bool = True
    reduce_fx: str = "mean"
    fork_of: str | None = None  # "loss" for "loss_step" and "loss_epoch", where both were requested


@dataclass
class StepLogs:
    """Collects what one run of a step logs; a context manager that `current` finds.

    ``training`` selects the defaults: a training step logs every step's value, an evaluation the mean over the epoch.
    ``suffix`` is appended to each name to tell several sources apart.
    """

    training: bool
    suffix: str = ""
    weight: float = 1.0  # the step's weight in an epoch's mean, unless a value has its own
    entries: list[LogEntry] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)
    metrics: dict[LogEntry, Any] = field(default_factory=dict)

    def record(self, entry: LogEntry, value: Any, weight: Any) -> None:
        """Add one scalar with its weight in the epoch's mean, or a Keras metric.

        Raises:
            ValueError: the value is not a scalar, or the step has already logged the name.
        """
        if any(entry.name == known.name for known in (*self.entries, *self.metrics)):
            raise ValueError(f"log({entry.name!r}) was called twice in one step. Give each value its own name.")
        if hasattr(value, "update_state") and hasattr(value, "result"):  # a Keras metric: read once per epoch
            self.metrics[entry] = value
            return
        if isinstance(value, str) or not (hasattr(value, "shape") or isinstance(value, Number)):
            raise ValueError(not_a_number(entry.name, value))
        value, weight = logged_now(value), logged_now(weight)
        if getattr(value, "shape", ()) not in ((), (1,)):
            raise ValueError(
                f"log({entry.name!r}) takes a scalar. Received a tensor of shape {tuple(value.shape)}; "
                "reduce it first, for example with keras.ops.mean."
            )
        self.entries.append(entry)
        self.values.append(value)
        self.weights.append(weight)

    def recorded(self) -> dict[str, tuple[Any, Any]]:
        """Each value with its weight, two float32 scalar tensors, by name."""
        from keras import ops

        return {
            entry.name: tuple(ops.reshape(ops.cast(scalar, "float32"), ()) for scalar in pair)
            for entry, *pair in zip(self.entries, self.values, self.weights, strict=True)
        }

    def extend(self, later: StepLogs) -> None:
        """Add what another part of the same step logged.

        Raises:
            ValueError: both have logged the same name.
        """
        for entry, value, weight in zip(later.entries, later.values, later.weights, strict=True):
            self.record(entry, value, weight)
        for entry, metric in later.metrics.items():
            self.record(entry, metric, 1.0)

    def __enter__(self) -> StepLogs:
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)


def weight_of(batch: Any, first: Any) -> float:
    """A batch's number of rows relative to the first batch's; 1 if the arrays of either differ in length.

    Relative, so that a full batch weighs 1, as it does in mid-epoch checkpoints from before rows were counted.
    """
    rows, whole = rows_of(batch), rows_of(first)
    return rows / whole if rows is not None and whole else 1.0


def rows_of(batch: Any) -> int | None:
    """A batch's number of rows, the first axis that all its arrays share; None if they share none."""
    import keras

    shapes = [tuple(getattr(leaf, "shape", ())) for leaf in keras.tree.flatten(batch)]
    lengths = {shape[0] for shape in shapes if shape}  # numbers beside the arrays have no rows
    return lengths.pop() if len(lengths) == 1 else None


def read_now(value: Any) -> Any:
    """The current value of a `keras.Variable`, as reading it later would be outside the trace; others unchanged."""
    import keras

    # A copy: under TensorFlow and torch, a variable's tensor changes with the variable.
    return keras.ops.copy(value) if isinstance(value, keras.Variable) else value


def logged_now(value: Any) -> Any:
    """The current value of a variable or torch tensor: ``loss += penalty`` after ``log`` would change it in place."""
    import keras

    if keras.backend.backend() == "torch" and keras.ops.is_tensor(value):
        return keras.ops.copy(value)
    return read_now(value)


def not_a_number(name: str, value: Any) -> str:
    """The error message for a value that cannot be logged."""
    instead = " A metric is logged in the step, and read at the end of the epoch." if hasattr(value, "result") else ""
    got = f"{str(value)[:80]!r} ({type(value).__name__})"
    return f"log({name!r}) takes a number or a scalar tensor. Received: {got}.{instead}"


def current() -> StepLogs | None:
    """The `StepLogs` of the step that is being traced, or None outside a step."""
    return _current.get()


def initial_sums(
    entries: Sequence[LogEntry], saved: Mapping[str, np.ndarray] | None = None
) -> tuple[list[float], list[float]]:
    """Totals and weights of an epoch before its first step, or as saved by `named_sums`."""
    start = {"mean": 0.0, "sum": 0.0, "min": float("inf"), "max": float("-inf")}
    sums = [(saved or {}).get(f"logs.{entry.name}", (start[entry.reduce_fx], 0.0)) for entry in entries]
    return [float(total) for total, _ in sums], [float(weight) for _, weight in sums]


def named_sums(entries: Sequence[LogEntry], totals: Sequence[float], weights: Sequence[float]) -> dict[str, np.ndarray]:
    """The sums so far, for a checkpoint: ``logs.<name>`` -> float32 (2,), total and weight."""
    return {
        f"logs.{entry.name}": np.array(sums, "float32") for entry, *sums in zip(entries, totals, weights, strict=True)
    }


def add_to_sums(entries: Sequence[LogEntry], sums: tuple[Any, Any], logged: Any) -> tuple[Any, Any]:
    """The sums after one more step: two vectors of shape (number of entries,), traced into the step.

    Args:
        entries: the step's.
        sums: totals and weights so far.
        logged: (2, number of entries), the step's values and weights.
    """
    from keras import ops

    totals, total_weights = sums
    values, weights = logged[0], logged[1]
    kinds = {entry.reduce_fx for entry in entries}
    added = totals + values * weights
    for kind, fold in (("sum", ops.add), ("min", ops.minimum), ("max", ops.maximum)):
        if kind in kinds:
            chosen = [entry.reduce_fx == kind for entry in entries]
            added = ops.where(ops.convert_to_tensor(chosen, "bool"), fold(totals, values), added)
    # A weight of 0 (a batch of padding only, or without this value) must not let a NaN through: 0 * NaN is NaN.
    return ops.where(weights > 0, added, totals), total_weights + weights


def read_sums(entries: Sequence[LogEntry], totals: Sequence[float], weights: Sequence[float]) -> dict[str, float]:
    """The epoch's values by name; entries without a single weighted step are left out."""
    return {
        entry.name: float(total) / float(weight) if entry.reduce_fx == "mean" else float(total)
        for entry, total, weight in zip(entries, totals, weights, strict=True)
        if weight > 0
    }
