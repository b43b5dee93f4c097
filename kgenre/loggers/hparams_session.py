"""A run's row of TensorBoard's HParams tab: a session that begins with its parameters and ends with a status."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kgenre.loggers.flat_parameters import flat_parameters

# Sorts before the others, which are named by their time: TensorBoard leaves a file for good when a later one is there.
HPARAMS_FILE = "events.out.tfevents.0.hparams"


def write_session_start(run_dir: Path, params: Mapping[str, Any]) -> None:
    """Write the parameters of a session that begins now into a file of their own, which a later one replaces."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams import summary_v2
    from tensorboard.summary.writer.record_writer import RecordWriter

    with (run_dir / HPARAMS_FILE).open("wb") as file:
        writer = RecordWriter(file)
        summary = summary_v2.hparams_pb(flat_parameters(params), start_time_secs=time.time())
        for content in ({"file_version": "brain.Event:2"}, {"summary": summary}):
            writer.write(Event(wall_time=time.time(), **content).SerializeToString())


def session_end(status: int, ended: float) -> Any:
    """The ``Summary`` that ends a row of the HParams tab: a status of ``api_pb2``, a time in seconds."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=ended)
    content = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=end))
    return Summary(
        value=[Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=content, tensor=metadata.NULL_TENSOR)]
    )
