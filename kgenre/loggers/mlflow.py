"""Runs in MLflow."""

from __future__ import annotations

import io
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgenre.lightning_arguments import explain_arguments
from kgenre.loggers.logger import LoggerError, flat_parameters
from kgenre.loggers.picture import png_of
from kgenre.loggers.service import ServiceLogger, in_file_name, title

if TYPE_CHECKING:
    import numpy as np

_log = logging.getLogger("kgenre")
_STATUS = {"success": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
_LONGEST = 6000  # characters of a parameter's value
_LONGEST_NAME = 250
_MOST_METRICS, _MOST_PARAMETERS = 1000, 100  # in one request


class MLFlowLogger(ServiceLogger):
    """Metrics over ``global_step``, parameters, texts and pictures in MLflow.

    Characters that MLflow does not allow in names become ``_``. If a parameter changes when a run is resumed, MLflow
    keeps the first value. See `ServiceLogger` for how a run is found again.

    If its server becomes unreachable, a request is repeated for about 15 seconds; then the run continues without it,
    with a warning. A server that limits the rate of requests may need more time: ``MLFLOW_HTTP_REQUEST_MAX_RETRIES=7``
    waits for four minutes.

    Args:
        experiment_name: MLflow's experiment, created if it is missing; None: ``MLFLOW_EXPERIMENT_NAME`` if set, or
            "kgenre".
        tracking_uri: where MLflow keeps its runs, "http://server:5000" or "sqlite:///mlflow.db"; None:
            ``MLFLOW_TRACKING_URI`` if set, or MLflow's default.
        run_name: the run's name in MLflow; None: the last folders of the run, ``digit_net/version_0``.
        tags: the run's tags.
        save_dir: the root of the runs; None leaves it to the Trainer's ``default_root_dir``.
        name: the name of the experiment; None leaves it to the Trainer.

    Raises:
        LoggerError: mlflow is not installed, or its server cannot be reached (when a run begins).

    Example:
        >>> Trainer(logger=[TensorBoardLogger(), CSVLogger(), MLFlowLogger("digits")])
    """

    package = "mlflow"
    files = ("mlflow.json",)

    @explain_arguments
    def __init__(
        self,
        experiment_name: str | None = None,
        tracking_uri: str | None = None,
        run_name: str | None = None,
        tags: Mapping[str, str] | None = None,
        save_dir: str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(save_dir, name)
        self.experiment_name = experiment_name
        self.tracking_uri = tracking_uri
        self.run_name = run_name
        self.tags = dict(tags or {})
        self._client: Any = None
        self._run_id: str | None = None
        self._is_lost = False  # server unreachable: each request would be repeated

    @property
    def experiment(self) -> Any:
        """The `mlflow.MlflowClient`."""
        if self._client is None:
            raise self.not_open()
        return self._client

    @property
    def run_id(self) -> str:
        """MLflow's id of the run."""
        if self._run_id is None:
            raise self.not_open()
        return self._run_id

    def _begin(self, run_dir: Path, known: Mapping[str, Any] | None) -> Mapping[str, Any]:
        import mlflow

        self._client, self._is_lost = mlflow.MlflowClient(self.tracking_uri), False
        try:
            with _few_retries():
                if known:
                    self._run_id = known["run_id"]
                    self._client.update_run(self._run_id, status="RUNNING")
                else:
                    name = self.experiment_name or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "kgenre"
                    experiment = self._client.get_experiment_by_name(name)
                    place = experiment.experiment_id if experiment else self._client.create_experiment(name)
                    run = self._client.create_run(place, run_name=self.run_name or title(run_dir), tags=self.tags)
                    self._run_id = run.info.run_id
        except mlflow.MlflowException as error:
            raise LoggerError(f"MLflow cannot be used: {' '.join(str(error).split())[:300]}") from error
        return {"run_id": self._run_id}

    def _leave(self) -> None:
        self._run_id = self._run_dir = None

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        entities = [Metric(_allowed(name), float(value), now, step) for name, value in metrics.items()]
        for some in _parts(entities, _MOST_METRICS):
            self._send("log_batch", metrics=some)

    @explain_arguments
    def log_hyperparams(self, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        run = self._send("get_run")
        known = run.data.params if run is not None else {}
        new = {_allowed(name): str(value)[:_LONGEST] for name, value in flat_parameters(params).items()}
        entities = [Param(name, value) for name, value in new.items() if name not in known]
        for some in _parts(entities, _MOST_PARAMETERS):
            self._send("log_batch", params=some)

    def log_text(self, name: str, text: str, step: int) -> None:
        self._send("log_text", text, f"{in_file_name(_allowed(name))}/step={step:06d}.md")

    @explain_arguments
    def log_image(self, name: str, image: bytes | np.ndarray, step: int) -> None:
        from PIL import Image

        key = in_file_name(_allowed(name, re.ASCII))  # stricter for pictures
        self._send("log_image", Image.open(io.BytesIO(png_of(name, image))), key=key, step=step)

    def finalize(self, status: str) -> None:
        if self._run_id is not None:
            self._send("set_terminated", _STATUS[status])

    def _send(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Call a method of the client for this run; None once the server is unreachable."""
        from mlflow import MlflowException

        run_id = self.run_id
        if self._is_lost:
            return None
        try:
            with _few_retries():
                return getattr(self.experiment, method)(run_id, *arguments, **named)
        except MlflowException as error:
            self._is_lost = True
            said = " ".join(str(error).split())[:300]
            _log.warning("This run is no longer logged to MLflow: %s", said)
            return None


@contextmanager
def _few_retries() -> Iterator[None]:
    """Let MLflow repeat a request three times, unless the user has set another number: a step waits for it."""
    if _RETRIES in os.environ:
        yield
        return
    os.environ[_RETRIES] = "3"
    try:
        yield
    finally:
        del os.environ[_RETRIES]


def _allowed(name: str, flags: re.RegexFlag = re.NOFLAG) -> str:
    """Return a name as MLflow accepts it: folders separated by "/", of which none is empty, "." or ".."."""
    parts = (re.sub(r"[^\w.\- ]", "_", part, flags=flags) for part in name.split("/"))
    return "/".join("_" if part in ("", ".", "..") else part for part in parts)[:_LONGEST_NAME]


def _parts(entities: Sequence[Any], most: int) -> list[Sequence[Any]]:
    return [entities[first : first + most] for first in range(0, len(entities), most)]
