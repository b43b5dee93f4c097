"""Records the backend's own trace of what the device does in a few training steps."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgenre.lightning_arguments import explain_arguments
from kgenre.profilers.profiler import Profiler

if TYPE_CHECKING:
    from kgenre.engines import Engine

_log = logging.getLogger("kgenre")


class TraceProfiler(Profiler):
    """Lets the backend record a trace of some training steps into the run's folder.

    TensorFlow's and JAX's traces are for TensorBoard's Profile tab (``pip install xprof``), torch's for
    https://ui.perfetto.dev. They are large: a few steps are enough.

    Args:
        dirpath: where to write; None: the run's folder, or the working directory where there is none.
        skip_steps: training steps before the recorded ones, as the first ones compile.
        steps: training steps to record. Calls of several steps (``steps_per_execution``) are skipped or recorded whole.

    Raises:
        ValueError: ``skip_steps`` is below 0, or ``steps`` below 1.

    Example:
        >>> Trainer(profiler=TraceProfiler(skip_steps=20, steps=5)).fit(module, batches)
    """

    @explain_arguments
    def __init__(self, dirpath: str | Path | None = None, skip_steps: int = 10, steps: int = 10) -> None:
        if skip_steps < 0 or steps < 1:
            raise ValueError(
                f"TraceProfiler takes skip_steps >= 0 and steps >= 1. Received: skip_steps={skip_steps}, steps={steps}"
            )
        super().__init__(dirpath)
        self.skip_steps = skip_steps
        self.steps = steps
        self.trace_dir: Path | None = None  # of the newest trace
        self._done = 0
        self._until: int | None = None  # the value of `_done` at which the recording ends; None: there is none
        self._in_call = 0  # steps of the running `train_steps`; 0 outside

    @property
    def files(self) -> tuple[str, ...]:
        """The traces."""
        return ("plugins", "*.pt.trace.json")

    def setup(self, stage: str) -> None:
        """Count steps from zero."""
        super().setup(stage)
        self._done, self.trace_dir = 0, None

    def watch(self, engine: Engine) -> None:
        """Measure the engine's calls, and note how many steps one makes."""
        super().watch(engine)
        train_steps = engine.train_steps

        def call(batches: Sequence[Any], *arguments: Any, **named: Any) -> Any:
            self._in_call = len(batches)
            try:
                return train_steps(batches, *arguments, **named)
            finally:
                self._in_call = 0

        engine.train_steps = call  # type: ignore[method-assign]

    def _steps_of(self, action_name: str) -> int:
        """Return an action's training steps: an engine may make those of `train_steps` by calling `train_step`."""
        if self._in_call:
            return self._in_call if action_name == "[Engine]train_steps" else 0
        return 1 if action_name == "[Engine]train_step" else 0

    def start(self, action_name: str) -> None:
        """Begin to record, if this is the first step to record."""
        if not self._steps_of(action_name) or self._done < self.skip_steps or self.trace_dir:
            return
        from kgenre.engines.device_trace import start_trace

        self.trace_dir = Path(self.dirpath or self.log_dir or ".")
        start_trace(self.trace_dir)
        self._until = self._done + self.steps

    def stop(self, action_name: str) -> None:
        """Count training steps, and end the recording after the last one."""
        self._done += self._steps_of(action_name)
        if self._until is not None and self._done >= self._until:
            self._end()

    def describe(self) -> None:
        """Print where the trace is, or warn that the fit was too short for one."""
        if self._until is not None:  # the fit ended early
            self._end()
        if self.trace_dir is not None:
            from kgenre.engines.device_trace import how_to_view

            print(f"Trace: {how_to_view(self.trace_dir)}")
        elif self.stage == "fit":
            counts = self.skip_steps, self._done
            _log.warning("TraceProfiler(skip_steps=%d) recorded nothing: the fit ended after %d steps.", *counts)

    def _end(self) -> None:
        from kgenre.engines.device_trace import stop_trace

        self._until = None
        with suppress(Exception):  # a failed step leaves none of these sums: its own error is the one to raise
            self.engine.epoch_logs("train")  # wait: they depend on the last step
        stop_trace()
