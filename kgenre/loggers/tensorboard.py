"""TensorBoard event files, written without TensorFlow."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kgenre.loggers.logger import Logger


class TensorBoardLogger(Logger):
    """Scalars and text for TensorBoard, one event file a process in the run's folder, over ``global_step``.

    Args:
        save_dir: the root of the runs; None leaves it to the Trainer's ``default_root_dir``.
        name: the name of the experiment; None leaves it to the Trainer.

    Example:
        >>> Trainer(logger=TensorBoardLogger("runs", name="poster_cnn"))
    """

    def __init__(self, save_dir: str | None = None, name: str | None = None) -> None:
        super().__init__(save_dir, name)
        self._file: Any = None
        self._run_dir: Path | None = None

    def open(self, run_dir: Path, resume_step: int | None = None) -> None:
        if self._file is not None and self._run_dir == run_dir and resume_step is None:
            return
        self.finalize("success")
        from tensorboard.summary.writer.record_writer import RecordWriter

        is_new = not any(run_dir.glob("events.out.tfevents.*"))
        # TensorBoard's EventFileWriter would import TensorFlow wherever it is installed; a file of our own does not.
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = (run_dir / name).open("ab")
        self._writer = RecordWriter(self._file)
        self._run_dir = run_dir
        self._write(file_version="brain.Event:2")
        if is_new or resume_step is not None:
            # TensorBoard takes the first START of a run as its beginning. At any later one it drops what was logged
            # from that step on: no doubled points after a resume.
            from tensorboard.compat.proto import event_pb2

            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._write(step=0 if resume_step is None else resume_step + 1, session_log=start)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        from tensorboard.plugins.scalar import metadata

        self._write_tensors(
            {name: (float(value), metadata.create_summary_metadata("", "")) for name, value in metrics.items()},
            step,
        )

    def log_text(self, name: str, text: str, step: int) -> None:
        from tensorboard.plugins.text import metadata

        self._write_tensors({name: ([text.encode()], metadata.create_summary_metadata("", ""))}, step)

    def log_hyperparams(self, params: Mapping[str, Any]) -> None:
        self.log_text("hyperparameters", f"```json\n{json.dumps(params, indent=2, default=str)}\n```", 0)

    def finalize(self, status: str) -> None:
        if self._file is not None:
            self._file.flush()

    def _write_tensors(self, values: Mapping[str, tuple[Any, Any]], step: int) -> None:
        import numpy as np
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.util.tensor_util import make_tensor_proto

        def tensor(value: Any) -> Any:
            return make_tensor_proto(np.float32(value) if isinstance(value, float) else value)

        summary = Summary(
            value=[Summary.Value(tag=n, metadata=meta, tensor=tensor(value)) for n, (value, meta) in values.items()]
        )
        self.write_summary(summary, step)

    def write_summary(self, summary: Any, step: int) -> None:
        """Write a ``Summary`` protocol buffer of one of TensorBoard's plugins."""
        self._write(step=step, summary=summary)
        # An open TensorBoard should show it now, and a killed run should have it.
        self._file.flush()

    def _write(self, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.write(Event(wall_time=time.time(), **content).SerializeToString())
