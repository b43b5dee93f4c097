"""The run's metrics: from the device to callbacks, progress bar and loggers, without making the steps wait."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from kgenre.engines.engine import Engine
from kgenre.engines.step_logs import LogEntry, not_a_number, rows_of
from kgenre.loggers.logger import Logger
from kgenre.training.epoch_values import EpochValues
from kgenre.training.running_metrics import RunningMetrics


class Results:
    """The logged values, the newest of each name.

    ``callback`` holds everything, ``logged`` what went to the loggers, ``progress_bar`` what is shown. Values of single
    steps stay on the device until the next ones are due, so that fetching them never waits for a running step.
    """

    def __init__(self, loggers: Sequence[Logger] = ()) -> None:
        self.loggers = loggers
        self.callback: dict[str, float] = {}
        self.logged: dict[str, float] = {}
        self.progress_bar: dict[str, float] = {}
        self._to_write: dict[str, float] = {}
        self._provisional: dict[str, float] = {}  # to be written, but not part of the curves: see `is_provisional`
        # The newest step written to the loggers, and each write of it: a name may be written twice, as when an epoch
        # ends with batches that make no update.
        self._written: tuple[int, list[dict[str, float]]] = (0, [])
        self._pending: tuple[int, Any] | None = None  # the newest step to be written, and its values
        self._newest: tuple[Engine, Any] | None = None
        self._running = RunningMetrics()
        self._of_batch_hooks = {"train": EpochValues(), "evaluation": EpochValues()}
        # The kind of batch whose hooks are running, and the batch; None: another hook.
        self.hooks_batch: tuple[Literal["train", "evaluation"], Any] | None = None
        # At the end of an interrupted epoch: its values are written, but a run that resumes here replaces them by
        # those of the whole epoch.
        self.is_provisional = False

    # --- values of steps, from the device ------------------------------------------------------------------------

    def note_step(self, engine: Engine, values: Any) -> None:
        """Keep the newest step's values, on the device, for `current`."""
        self._newest = engine, values

    def current(self) -> dict[str, float]:
        """Return ``callback``, updated with the newest step's values: a transfer, if there are any."""
        if self._newest is not None:
            (engine, values), self._newest = self._newest, None
            self.write_pending(engine)  # otherwise older pending values would later replace these
            self._put_step(engine, values)
        return self.callback

    def add_step(self, engine: Engine, values: Any, global_step: int) -> None:
        """Keep a training step's logged values (on the device), and write those kept before."""
        if engine.built.entries["train"]:
            self.write_pending(engine)
            self._pending = global_step, values

    def write_pending(self, engine: Engine) -> None:
        """Fetch and write the pending step's values."""
        if self._pending is not None:
            (step, values), self._pending = self._pending, None
            self._write(self._put_step(engine, values), step)

    def _put_step(self, engine: Engine, values: Any) -> dict[str, float]:
        """Fetch and keep a step's values, and return those for the loggers."""
        for_loggers = {}
        for entry, value, weight in zip(engine.built.entries["train"], *engine.to_host(values), strict=True):
            if entry.on_step and weight > 0:
                self._put(entry, float(value), write=False)
                if entry.logger:
                    for_loggers[entry.name] = float(value)
        return for_loggers

    def start_epoch(
        self, engine: Engine, stage: str, first_batch: int = 0, saved: Mapping[str, Any] | None = None
    ) -> None:
        """Reset a stage's sums and metrics; an epoch resumed in its middle (``first_batch``) keeps them."""
        self._running.begin(engine, stage)
        if first_batch == 0:
            self._running.check(engine, stage)
            if stage == "train":
                self._of_batch_hooks["train"].clear()
        if first_batch == 0 and engine.built.metrics[stage]:
            engine.sync()
            for metric in engine.built.metrics[stage].values():
                metric.reset_state()
            engine.pull()
        engine.start_epoch(stage, first_batch, saved)

    def add_epoch(self, engine: Engine, stage: str, is_empty: bool = False) -> None:
        """Fetch the values logged ``on_epoch`` in the steps of a stage: one transfer.

        Without any step (``is_empty``) there are none, and a metric's value would be that of its initial state.
        """
        self.current()  # otherwise the last step's value would later replace the epoch's
        values = engine.epoch_logs(stage)
        for entry in engine.built.entries[stage]:
            if entry.on_epoch and entry.name in values:
                self._put(entry, values[entry.name], entry.logger)
        metrics: Mapping[LogEntry, Any] = engine.built.metrics[stage]
        if metrics:
            engine.sync()
            for entry, metric in () if is_empty else metrics.items():
                self._put(entry, _number(entry.name, metric), entry.logger)
            self._running.end(engine, stage)
        for entry, value in self._of_batch_hooks["train" if stage == "train" else "evaluation"]:
            self._put(entry, value, entry.logger)

    def training_epoch_so_far(self, engine: Engine) -> dict[str, float]:
        """Fetch what the values logged ``on_epoch`` in training steps amount to so far, in a transfer or two."""
        values, metrics = engine.epoch_logs("train"), engine.built.metrics["train"]
        entries = [entry for entry in engine.built.entries["train"] if entry.on_epoch and entry.name in values]
        if metrics:
            engine.sync()
        return {entry.fork_of or entry.name: values[entry.name] for entry in entries} | {
            entry.name: _number(entry.name, metric) for entry, metric in metrics.items()
        }

    # --- values of hooks, from the host --------------------------------------------------------------------------

    def log(self, name: str, value: Any, prog_bar: bool = False, logger: bool = True) -> None:
        """Log a value from a hook; it is written by the next `write`.

        Raises:
            ValueError: the value is not a number.
        """
        self._put(LogEntry(name, prog_bar=prog_bar), _float(name, value), logger)

    def start_evaluation(self) -> None:
        """Forget what the hooks of an earlier evaluation's batches have logged."""
        self._of_batch_hooks["evaluation"].clear()

    @property
    def in_training_batch(self) -> bool:
        """Whether the hooks of a training batch are running."""
        return self.hooks_batch is not None and self.hooks_batch[0] == "train"

    def log_in_hook(self, entry: LogEntry, value: Any, batch_size: Any = None) -> None:
        """Log a value from a user's hook.

        In a hook of batches an entry ``on_epoch`` is reduced over the epoch, or over all batches of an evaluation;
        until its end, ``callback`` holds the value so far.
        """
        number = _float(entry.name, value)
        if self.hooks_batch is None or not entry.on_epoch:
            self._put(entry, number, entry.logger)
            return
        kind, batch = self.hooks_batch
        rows = rows_of(batch) if batch_size is None else _float("batch_size", batch_size)
        if (so_far := self._of_batch_hooks[kind].add(entry, number, 1.0 if rows is None else rows)) is not None:
            self._put(entry, so_far, write=False)

    def write(self, global_step: int) -> None:
        """Pass the loggers the values collected since the last call."""
        if self.is_provisional:
            self._log(self._to_write | self._provisional, global_step)
            self._provisional = {}
        else:
            values, self._to_write = self._to_write, {}
            self._write(values, global_step)

    def _put(self, entry: LogEntry, value: float, write: bool) -> None:
        self.callback[entry.name] = value
        if entry.fork_of is not None:
            self.callback[entry.fork_of] = value
        if entry.prog_bar:
            self.progress_bar[entry.name] = value
        if write:
            (self._provisional if self.is_provisional else self._to_write)[entry.name] = value

    def _write(self, values: dict[str, float], step: int) -> None:
        earlier = self._written[1] if self._written[0] == step else []
        known = {name: value for write in earlier for name, value in write.items()}
        # A value that both a step and the epoch ending with it log is one point of the curve.
        new = {name: value for name, value in values.items() if str(known.get(name)) != str(value)}  # NaN equals NaN
        if new:
            self._written = step, [*earlier, new]
            self._log(new, step)

    def _log(self, values: dict[str, float], step: int) -> None:
        self.logged |= values
        for logger in self.loggers if values else ():
            logger.log_metrics(values, step)

    # --- in a checkpoint -----------------------------------------------------------------------------------------

    def state_dict(self, global_step: int) -> dict[str, Any]:
        """Every value so far, those written at this step, and those still to be written; inf and NaN as strings."""
        parts = {
            "callback": self.current(),
            "logged": self.logged,
            "progress_bar": self.progress_bar,
            "to_write": self._to_write,
        }
        written = self._written[1] if self._written[0] == global_step else []
        return {part: _plain(values) for part, values in parts.items()} | {
            "written": [*map(_plain, written)],
            "of_batch_hooks": self._of_batch_hooks["train"].state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any], global_step: int) -> None:
        """Continue from a `state_dict`; the loggers are open and hold only values older than ``global_step``."""
        self.callback, self.logged, self.progress_bar = (
            _numbers(state[part]) for part in ("callback", "logged", "progress_bar")
        )
        written = state["written"]
        for values in [written] if isinstance(written, Mapping) else written:  # one dict in older checkpoints
            self._write(_numbers(values), global_step)
        self._to_write = _numbers(state["to_write"])
        self._of_batch_hooks["train"].load_state_dict(state.get("of_batch_hooks", []))  # older states lack it


def _float(name: str, value: Any) -> float:
    from keras import ops

    try:
        # float() warns for a torch tensor that requires a gradient, and fails for a NumPy array of one element.
        value = ops.convert_to_numpy(value) if ops.is_tensor(value) else value
        return float(value.item() if getattr(value, "size", None) == 1 else value)
    except (TypeError, ValueError):
        raise ValueError(not_a_number(name, value)) from None


def _number(name: str, metric: Any) -> float:
    from keras import ops

    result = ops.convert_to_numpy(metric.result())
    if result.size != 1:
        raise ValueError(
            f"log({name!r}) takes a metric whose result is one number. The result of {type(metric).__name__} has the "
            f"shape {result.shape}: only update it in the step, log each number under its own name in the hook "
            "on_..._epoch_end, and call its reset_state() in on_..._epoch_start."
        )
    return float(result.item())


def _plain(values: Mapping[str, float]) -> dict[str, Any]:
    return {name: value if math.isfinite(value) else str(value) for name, value in values.items()}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}
