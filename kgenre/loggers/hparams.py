"""A run's row in TensorBoard's HParams tab: a session that begins with its parameters and ends with a status.

Written without TensorFlow. Times are seconds since the epoch.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kgenre.loggers.logger import flat_parameters

# Sorts before other event files, which are named by time: TensorBoard stops reading a file once a later one exists.
HPARAMS_FILE = "events.out.tfevents.0.hparams"


def write_session_start(run_dir: Path, params: Mapping[str, Any], started: float) -> None:
    """Write the parameters of a session to a separate file, which a later session overwrites."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams import summary_v2
    from tensorboard.summary.writer.record_writer import RecordWriter

    with (run_dir / HPARAMS_FILE).open("wb") as file:
        writer = RecordWriter(file)
        summary = summary_v2.hparams_pb(flat_parameters(params), start_time_secs=started)
        for content in ({"file_version": "brain.Event:2"}, {"summary": summary}):
            writer.write(Event(wall_time=time.time(), **content).SerializeToString())


def session_end(succeeded: bool, ended: float) -> Any:
    """Return the ``Summary`` that ends a row of the HParams tab."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    status = api_pb2.STATUS_SUCCESS if succeeded else api_pb2.STATUS_FAILURE
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=ended)
    content = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=end))
    return Summary(
        value=[Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=content, tensor=metadata.NULL_TENSOR)]
    )


def write_hparams(
    run_dir: Path, parameters: Mapping[str, float | str], score: float | None, started: float, ended: float
) -> None:
    """Write a trial's parameters, its score as ``hp_metric`` (Lightning's name) and whether it succeeded.

    They replace the row of the trial's own fit, which has its whole configuration.

    Args:
        run_dir: the folder of the trial's run, which has its curves.
        parameters: by name; a name must have the same type in all trials, or TensorBoard shows no column for it.
        score: of the trial; None: it failed.
        started: when the trial started.
        ended: when it ended.
    """
    from kgenre.loggers.tensorboard import TensorBoardLogger

    write_session_start(run_dir, parameters, started)
    logger = TensorBoardLogger()
    logger.open(run_dir)
    logger.write_summary(session_end(score is not None, ended), step=0)
    if score is not None:
        logger.log_metrics({"hp_metric": score}, step=0)
    logger.finalize("success")
