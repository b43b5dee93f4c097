"""TensorBoard's HParams tab: one row a trial, written without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kgenre.loggers.tensorboard import TensorBoardLogger


def write_hparams(
    run_dir: Path, parameters: Mapping[str, float | str], score: float | None, started: float, ended: float
) -> None:
    """Write a trial's parameters, its score as ``hp_metric`` (Lightning's name) and whether it succeeded.

    Args:
        run_dir: the folder of the trial's run, which has its curves.
        parameters: by name; a name has one type in all trials, or TensorBoard makes no column of it.
        score: what the trial reached; None: it failed.
        started: when, in seconds since the epoch.
        ended: when, in seconds since the epoch.
    """
    from tensorboard.plugins.hparams import api_pb2, summary_v2

    logger = TensorBoardLogger()
    logger.open(run_dir)
    status = api_pb2.STATUS_FAILURE if score is None else api_pb2.STATUS_SUCCESS
    for summary in (
        summary_v2.hparams_pb(dict(parameters), start_time_secs=started),
        _session_end(status, ended),
    ):
        logger.write_summary(summary, step=0)
    if score is not None:
        logger.log_metrics({"hp_metric": score}, step=0)


def _session_end(status: Any, ended: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=ended)
    content = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=end))
    return Summary(
        value=[Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=content, tensor=metadata.NULL_TENSOR)]
    )
