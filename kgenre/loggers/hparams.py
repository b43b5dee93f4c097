"""TensorBoard's HParams tab: one row a trial, written without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kgenre.loggers.hparams_session import HPARAMS_FILE, session_end
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

    (run_dir / HPARAMS_FILE).unlink(missing_ok=True)  # the fit's own row, with everything it was configured with
    logger = TensorBoardLogger()
    logger.open(run_dir)
    status = api_pb2.STATUS_FAILURE if score is None else api_pb2.STATUS_SUCCESS
    for summary in (
        summary_v2.hparams_pb(dict(parameters), start_time_secs=started),
        session_end(status, ended),
    ):
        logger.write_summary(summary, step=0)
    if score is not None:
        logger.log_metrics({"hp_metric": score}, step=0)
    logger.finalize("success")
