"""Records the backend's own trace of what the device does in a few training steps."""

from __future__ import annotations

import logging
from pathlib import Path

from kgenre.profilers.profiler import Profiler

_log = logging.getLogger("kgenre")


class TraceProfiler(Profiler):
    """Lets the backend record a trace of some training steps into the run's folder.

    TensorFlow's and JAX's traces are for TensorBoard's Profile tab (``pip install xprof``), torch's for
    https://ui.perfetto.dev. They are large: a few steps are enough.

    Args:
        dirpath: where to write; None: the run's folder, or the working directory where there is none.
        skip_steps: training steps before the recorded ones, as the first ones compile.
        steps: training steps to record.

    Raises:
        ValueError: ``skip_steps`` is below 0, or ``steps`` below 1.

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
        """Count steps from zero."""
        super().setup(stage)
        self._done, self.trace_dir = 0, None

    def start(self, action_name: str) -> None:
        """Begin to record, if this is the first step to record."""
        if not action_name.startswith("[Engine]train_step") or self._done != self.skip_steps or self.trace_dir:
            return
        from kgenre.engines.device_trace import start_trace

        self.trace_dir = Path(self.dirpath or self.log_dir or ".")
        start_trace(self.trace_dir)
        self._is_recording = True

    def stop(self, action_name: str) -> None:
        """Count a training step, and end the recording after the last one."""
        if not action_name.startswith("[Engine]train_step"):
            return
        self._done += 1
        if self._is_recording and self._done >= self.skip_steps + self.steps:
            self._end()

    def describe(self) -> None:
        """Print where the trace is, or warn that the fit was too short for one."""
        if self._is_recording:  # the fit ended early
            self._end()
        if self.trace_dir is not None:
            from kgenre.engines.device_trace import how_to_view

            print(f"Trace: {how_to_view(self.trace_dir)}")
        elif self.stage == "fit":
            _log.warning("TraceProfiler(skip_steps=%d): fit ended after %d steps.", self.skip_steps, self._done)

    def _end(self) -> None:
        from kgenre.engines.device_trace import stop_trace

        self._is_recording = False
        self.engine.epoch_logs("train")  # wait: these sums depend on the last step
        stop_trace()
