"""TensorBoard event files, written without TensorFlow."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgenre.lightning_arguments import explain_arguments
from kgenre.loggers.hparams import HPARAMS_FILE, session_end, write_session_start
from kgenre.loggers.logger import Logger
from kgenre.loggers.picture import png_of

if TYPE_CHECKING:  # not keras: the command line's parser executes such imports, and a backend is slow to import
    import numpy as np

_log = logging.getLogger("kgenre")

_Place = tuple[int, int]  # of a record in its file: the first byte, and the one after the last
_STAGES = ("train", "val", "test")
_FLOAT32 = -3e38, 3e38


class TensorBoardLogger(Logger):
    """Writes event files for TensorBoard into the run's folder, over ``global_step``, one per process and curve.

    ``train/loss`` and ``val/loss`` are lines of one chart, ``loss``: names that begin with a stage go to a folder of
    that name below the run's, ``val/baseline_tfidf/loss`` to ``val/baseline_tfidf``. Other names are charts of the run.
    While a file cannot be written, because the disk is full, training continues and what is logged to it is lost.

    Args:
        save_dir: the root of the runs; None leaves it to the Trainer's ``default_root_dir``.
        name: the name of the experiment; None leaves it to the Trainer.

    Example:
        >>> Trainer(logger=TensorBoardLogger("runs", name="poster_cnn"))
    """

    files = ("events.out.tfevents.*",)

    @explain_arguments
    def __init__(self, save_dir: str | None = None, name: str | None = None) -> None:
        super().__init__(save_dir, name)
        self._files: dict[str, Path] = {}  # folder below the run's -> this process's event file there
        self._run_dir: Path | None = None
        self._resume_step: int | None = None
        self._session_is_open = False
        # The newest step with more than scalars, and their byte ranges in the run's own file: name -> (first, end).
        self._views: tuple[int, dict[str, _Place]] = (0, {})
        self._has_failed = False

    def open(self, run_dir: Path | None, resume_step: int | None = None) -> None:
        # A fit that failed before its first step removed its folder, and the next one may get the same.
        is_there = "" in self._files and self._files[""].exists()
        if self._run_dir == run_dir and resume_step is None and is_there:
            return
        self._run_dir, self._resume_step = run_dir, resume_step
        self._files, self._views, self._has_failed = {}, (0, {}), False
        self._file("")
        if resume_step is not None and run_dir is not None:
            # Curves that this run may not write again, such as those of a test that came after the checkpoint.
            known = {path.parent for stage in _STAGES for path in run_dir.glob(f"{stage}/**/events.out.tfevents.*")}
            for folder in sorted(known):
                self._file(folder.relative_to(run_dir).as_posix())

    def leave_run(self) -> None:
        self._run_dir, self._files, self._session_is_open = None, {}, False

    @property
    def experiment(self) -> Any:
        """Unavailable: this logger has no SummaryWriter of PyTorch's."""
        raise AttributeError(
            "TensorBoardLogger has no SummaryWriter as its experiment. Call log_image, log_text, log_metrics or "
            "log_histograms of the logger itself, in a hook."
        )

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        from tensorboard.plugins.scalar import metadata

        charts: dict[str, dict[str, Any]] = {}
        for name, value in metrics.items():
            folder, _, tag = name.rpartition("/")
            if folder.partition("/")[0] not in _STAGES:
                folder, tag = "", name
            charts.setdefault(folder, {})[tag] = (float(value), metadata.create_summary_metadata("", ""))
        for folder, values in charts.items():
            self._write_tensors(values, step, folder)

    def log_text(self, name: str, text: str, step: int) -> None:
        from tensorboard.plugins.text import metadata

        self._write_view({name: ([text.encode()], metadata.create_summary_metadata("", ""))}, step)

    @explain_arguments
    def log_hyperparams(self, params: Mapping[str, Any]) -> None:
        """Write them as a text, and as a row of the HParams tab, whose end `finalize` writes."""
        if self._resume_step is None:  # a resumed run already has it
            self.log_text("hyperparameters", f"```json\n{json.dumps(params, indent=2, default=str)}\n```", 0)
        write_session_start(self._folder, params, time.time())
        self._session_is_open = True

    @explain_arguments
    def log_image(self, name: str, image: bytes | np.ndarray, step: int) -> None:
        from tensorboard.plugins.image import metadata

        png = png_of(name, image)
        width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))  # in the PNG header
        tensor = [str(width).encode(), str(height).encode(), png]
        self._write_view({name: (tensor, metadata.create_summary_metadata("", ""))}, step)

    def log_histograms(self, values: Mapping[str, np.ndarray], step: int, bins: int = 30) -> None:
        """Write the distribution of each array's values."""
        import numpy as np
        from tensorboard.plugins.histogram import metadata

        tensors = {}
        for name, array in values.items():
            known = np.asarray(array).ravel()
            if not (finite := np.isfinite(known)).all():
                known = known[finite]
            if known.dtype != np.float32:  # the type in the event file, to whose range they are clipped
                known = np.clip(known.astype(np.float64), *_FLOAT32).astype(np.float32)
            if known.size:
                # Given the edges, NumPy takes a quarter of the time, noticeable with millions of weights per epoch.
                counts, edges = np.histogram(known, np.linspace(*_range(known), bins + 1, dtype=np.float32))
                buckets = np.stack([edges[:-1], edges[1:], counts], axis=1, dtype=np.float32)
                tensors[name] = (buckets, metadata.create_summary_metadata("", ""))
        self._write_view(tensors, step)

    def log_pr_curves(
        self, curves: Mapping[str, tuple[np.ndarray, np.ndarray]], step: int, thresholds: int = 101
    ) -> None:
        """Write the precision-recall curve of each (truth, probability), both (n,), at even thresholds from 0 to 1."""
        import numpy as np
        from tensorboard.plugins.pr_curve import metadata

        tensors = {}
        for name, (true, prob) in curves.items():
            place = np.floor(prob * (thresholds - 1)).astype(int)
            counts = [np.bincount(place[true == side], minlength=thresholds) for side in (True, False)]
            tp, fp = (count[::-1].cumsum()[::-1].astype(np.float64) for count in counts)
            tn, fn = fp[0] - fp, tp[0] - tp
            precision, recall = tp / np.maximum(tp + fp, 1e-7), tp / np.maximum(tp + fn, 1e-7)
            tensor = np.stack([tp, fp, tn, fn, precision, recall]).astype(np.float32)
            tensors[name] = (tensor, metadata.create_summary_metadata("", "", thresholds))
        self._write_view(tensors, step)

    def log_layout(self, charts: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
        """Arrange the Custom Scalars tab: category -> title of a chart -> regular expressions of its tags."""
        from tensorboard.plugins.custom_scalar import layout_pb2, metadata

        categories = [
            layout_pb2.Category(
                title=category,
                chart=[
                    layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=tags))
                    for title, tags in content.items()
                ],
            )
            for category, content in charts.items()
        ]
        layout = layout_pb2.Layout(category=categories).SerializeToString()
        self._write_tensors({metadata.CONFIG_SUMMARY_TAG: (layout, metadata.create_summary_metadata())}, 0)

    def log_graph(self, model: Any) -> None:
        """Write the graph of a Keras model, or of any other: (name, kind, names of its inputs) for each node.

        Args:
            model: a ``keras.Model``, or a list of nodes.

        Raises:
            TypeError: neither of them, such as a Module: its network is the Keras model.
        """
        from tensorboard.compat.proto.graph_pb2 import GraphDef
        from tensorboard.compat.proto.node_def_pb2 import NodeDef

        if not isinstance(model, list | tuple) and not hasattr(model, "layers"):
            raise TypeError(f"log_graph takes a Keras model, such as self.model. Received: {type(model).__name__}")
        nodes = model if isinstance(model, list | tuple) else _nodes(model)
        graph = GraphDef(node=[NodeDef(name=name, op=kind, input=inputs) for name, kind, inputs in nodes])
        self._write("", graph_def=graph.SerializeToString())

    def state_dict(self, step: int) -> dict[str, Any]:
        """Return where the event file has this step's texts, pictures and histograms: too large for a checkpoint."""
        newest, places = self._views
        return {"file": self._files[""].name, "places": places} if places and newest == step else {}

    def load_state_dict(self, state: Mapping[str, Any], step: int) -> None:
        """Copy what `state_dict` located from the event file that was written before the run was resumed."""
        known = {path.name: path for path in self._folder.glob("events.out.tfevents.*")}
        if not state or state["file"] not in known:  # the checkpoint has been moved out of the run
            return
        with known[state["file"]].open("rb") as file:
            newest, written = self._views
            for name, (first, end) in state["places"].items():
                if newest == step and name in written:  # logged again already, such as the configuration
                    continue
                file.seek(first)
                record = file.read(end - first) if 16 < end - first <= os.fstat(file.fileno()).st_size else b""
                # A TFRecord has a length and two checksums around its content; a power cut may have destroyed it.
                if len(record) > 16 and int.from_bytes(record[:8], "little") == len(record) - 16:
                    self._record_view(name, step, partial(self._append, "", record))

    def finalize(self, status: str) -> None:
        if self._session_is_open:
            self._session_is_open = False
            self.write_summary(session_end(status != "failed", time.time()), step=0)

    def write_summary(self, summary: Any, step: int, folder: str = "") -> _Place | None:
        """Write a ``Summary`` protocol buffer of one of TensorBoard's plugins; return its place in the event file."""
        return self._write(folder, step=step, summary=summary)

    def _write_tensors(self, values: Mapping[str, tuple[Any, Any]], step: int, folder: str = "") -> _Place | None:
        import numpy as np
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.util.tensor_util import make_tensor_proto

        def tensor(value: Any) -> Any:
            return make_tensor_proto(np.float32(value) if isinstance(value, float) else value)

        summary = Summary(
            value=[Summary.Value(tag=n, metadata=meta, tensor=tensor(value)) for n, (value, meta) in values.items()]
        )
        return self.write_summary(summary, step, folder)

    def _write_view(self, values: Mapping[str, tuple[Any, Any]], step: int) -> None:
        if values:
            self._record_view(next(iter(values)), step, lambda: self._write_tensors(values, step))

    def _record_view(self, name: str, step: int, write: Callable[[], _Place | None]) -> None:
        if (place := write()) is not None:
            newest, places = self._views
            self._views = step, (places if newest == step else {}) | {name: place}

    def _write(self, folder: str, **content: Any) -> _Place | None:
        return self._append(folder, _record(**content))

    def _append(self, folder: str, record: bytes) -> _Place | None:
        """Append a record, and return its place; None if the file cannot be written, which ends no training."""
        try:
            return _append_whole(self._file(folder), record)
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                path, why = self._files.get(folder, self._folder / folder), error.strerror or error
                _log.warning("%s cannot be written (%s). Training continues; the curves lack these values.", path, why)
            return None

    @property
    def _folder(self) -> Path:
        if self._run_dir is None:
            raise self.not_open()
        return self._run_dir

    def _file(self, folder: str) -> Path:
        # Replace what Windows allows in no name, and what would lead to another folder.
        parts = (re.sub(r'[\\<>:"|?*]|\.\.', "_", part) for part in folder.split("/"))
        folder = "/".join("_" if part in ("", ".") else part for part in parts) if folder else ""
        if folder in self._files:
            return self._files[folder]
        directory = self._folder / folder
        directory.mkdir(parents=True, exist_ok=True)
        earlier = [path.name for path in directory.glob("events.out.tfevents.*") if path.name != HPARAMS_FILE]
        is_new = not earlier
        # TensorBoard reads the files in the order of their names: if the clock was set back, this one still comes last.
        times = [float(found[0]) for name in earlier if (found := re.search(r"\d+\.\d{6}", name))]
        now = max([time.time(), *(one + 1e-3 for one in times)])
        # TensorBoard's EventFileWriter would import TensorFlow if it is installed.
        name = f"events.out.tfevents.{now:.6f}.{socket.gethostname()}.{os.getpid()}"
        records = _record(file_version="brain.Event:2")
        if is_new or self._resume_step is not None:
            # TensorBoard takes the first START of a run as its beginning. At a later one it drops what was logged from
            # that step on: this avoids duplicate points after a resume, which logs that step's values again.
            from tensorboard.compat.proto import event_pb2

            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            step = self._resume_step or 0
            if folder.partition("/")[0] == "test":
                step += 1  # a test at that step was of the same weights, and is not repeated
            records += _record(step=step, session_log=start)
        try:
            _append_whole(directory / name, records)
        except OSError:
            with suppress(OSError):
                (directory / name).unlink()  # the next attempt writes another file
            raise
        self._files[folder] = directory / name
        return self._files[folder]


def _record(**content: Any) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    record = io.BytesIO()
    RecordWriter(record).write(Event(wall_time=time.time(), **content).SerializeToString())
    return record.getvalue()


def _append_whole(path: Path, record: bytes) -> _Place:
    """Append a record, or nothing of it if that fails: TensorBoard reads no further than half a record."""
    # Not kept open: a running TensorBoard should show the record, a killed run have it, Windows remove the folder.
    with path.open("ab", buffering=0) as file:
        first, written = file.tell(), 0
        try:
            while written < len(record):
                written += file.write(record[written:])
        except OSError:
            file.truncate(first)
            raise
        return first, first + written


def _nodes(model: Any) -> list[tuple[str, str, list[str]]]:
    """Return each operation of a functional Keras model: its name, its class, and the names of those it reads from."""
    nodes = []
    for operation in getattr(model, "operations", model.layers):
        parents = []
        for node in operation._inbound_nodes:
            parents += [parent.operation.name for parent in node.parent_nodes if parent.operation is not None]
        nodes.append((operation.name, type(operation).__name__, list(dict.fromkeys(parents))))
    return nodes


def _range(values: np.ndarray) -> tuple[float, float]:
    """Return the range of a histogram, wide enough that its edges differ in float32."""
    low, high = float(values.min()), float(values.max())
    least = 1e-5 * max(abs(low), abs(high)) or 1.0
    if high - low >= least:
        return low, high
    middle = (low + high) / 2
    return middle - least / 2, middle + least / 2
