"""What the device does, step by step: the backend's own trace of a few of them."""

from __future__ import annotations

import logging
from pathlib import Path

from kgenre.profilers.profiler import Profiler

_log = logging.getLogger("kgenre")


class TraceProfiler(Profiler):
    """Lets the backend record some training steps, into the run's folder.

    TensorFlow's and JAX's traces are for TensorBoard's Profile tab (``pip install xprof``), torch's for
    https://ui.perfetto.dev. They are large: a few steps tell enough.

    Args:
        dirpath: where to write; None: the run's folder, or the working directory where there is none.
        skip_steps: training steps before the recorded ones: the first compile.
        steps: training steps to record.

    Raises:
        ValueError: no steps.

    Example:
        >>> Trainer(profiler=TraceProfiler(skip_steps=20, steps=5)).fit(module, batches)
    """

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
        self._is_recording = False

    def setup(self, stage: str) -> None:
        """Count from the beginning."""
        super().setup(stage)
        self._done, self.trace_dir = 0, None

    def start(self, action_name: str) -> None:
        """Begin to record at the first step wanted."""
        if not action_name.startswith("[Engine]train_step") or self._done != self.skip_steps or self.trace_dir:
            return
        from kgenre.engines.device_trace import start_trace

        self.trace_dir = Path(self.dirpath or self.log_dir or ".")
        start_trace(self.trace_dir)
        self._is_recording = True

    def stop(self, action_name: str) -> None:
        """End it after the last one."""
        if not action_name.startswith("[Engine]train_step"):
            return
        self._done += 1
        if self._is_recording and self._done >= self.skip_steps + self.steps:
            self._end()

    def describe(self) -> None:
        """Say where the trace is."""
        if self._is_recording:  # the fit was shorter
            self._end()
        if self.trace_dir is not None:
            from kgenre.engines.device_trace import how_to_view

            print(f"Trace: {how_to_view(self.trace_dir)}")
        elif self.stage == "fit":
            _log.warning("TraceProfiler(skip_steps=%d): fit ended after %d steps.", self.skip_steps, self._done)

    def _end(self) -> None:
        from kgenre.engines.device_trace import stop_trace

        self._is_recording = False
        self.engine.epoch_logs("train")  # the sums depend on the last step: it is done once they are here
        stop_trace()
