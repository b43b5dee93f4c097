"""Runs in Weights & Biases."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgenre.lightning_arguments import explain_arguments
from kgenre.loggers.logger import LoggerError
from kgenre.loggers.picture import png_of
from kgenre.loggers.service import ServiceLogger, in_file_name, title

if TYPE_CHECKING:
    import numpy as np


class WandbLogger(ServiceLogger):
    """Metrics over ``global_step``, configuration, texts and pictures in Weights & Biases.

    A W&B run that the program has started itself (``wandb.init``, an agent of ``wandb.sweep``) is used as it is. One
    that is started here stays open for the next stage, and ends with the program, with another run, or with an error.
    See `ServiceLogger` for how a run is found again.

    Args:
        project: W&B's project; None: ``WANDB_PROJECT`` if set, or "kgenre".
        entity: the user or team that owns the project; None: W&B's default.
        run_name: the run's name in W&B; None: the last folders of the run, ``digit_net/version_0``.
        group: runs with the same group are shown together.
        tags: the run's tags.
        offline: keep everything in the run's folder, for ``wandb sync`` later.
        save_dir: the root of the runs; None leaves it to the Trainer's ``default_root_dir``.
        name: the name of the experiment; None leaves it to the Trainer.

    Raises:
        LoggerError: wandb is not installed, or W&B cannot be reached (when a run begins).

    Example:
        >>> Trainer(logger=[TensorBoardLogger(), CSVLogger(), WandbLogger(project="digits")])
    """

    package = "wandb"
    files = ("wandb", "wandb.json")

    @explain_arguments
    def __init__(
        self,
        project: str | None = None,
        entity: str | None = None,
        run_name: str | None = None,
        group: str | None = None,
        tags: Sequence[str] = (),
        offline: bool = False,
        save_dir: str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(save_dir, name)
        self.project = project
        self.entity = entity
        self.run_name = run_name
        self.group = group
        self.tags = list(tags)
        self.offline = offline
        self._run: Any = None
        self._is_ours = False

    @property
    def experiment(self) -> Any:
        """The W&B run, a `wandb.Run`."""
        if self._run is None:
            raise self.not_open()
        return self._run

    def _begin(self, run_dir: Path, known: Mapping[str, Any] | None) -> Mapping[str, Any]:
        import wandb

        self._is_ours = wandb.run is None
        if self._is_ours:
            project = self.project or os.environ.get("WANDB_PROJECT") or "kgenre"
            try:
                wandb.init(
                    **(known or {"project": project, "entity": self.entity}),
                    resume="allow" if known else None,
                    name=None if known else self.run_name or title(run_dir),
                    group=self.group,
                    tags=self.tags or None,
                    dir=str(run_dir),
                    mode="offline" if self.offline else None,
                )
            except wandb.Error as error:
                raise LoggerError(
                    f"Weights & Biases cannot be used: {' '.join(str(error).split())} Or keep the run on this machine, "
                    "for wandb sync later: WandbLogger(offline=True)."
                ) from error
        self._run = wandb.run
        self._run.define_metric("global_step", hidden=True)
        self._run.define_metric("*", step_metric="global_step")
        return {"project": self._run.project, "entity": self._run.entity or None, "id": self._run.id}

    def _is_open(self) -> bool:
        import wandb

        return self._run is not None and self._run is wandb.run  # `wandb.finish` may have been called

    def _leave(self, exit_code: int = 0) -> None:
        if self._is_ours and self._is_open():
            self._run.finish(exit_code)
        self._run = self._run_dir = None

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self.experiment.log({**metrics, "global_step": step})

    @explain_arguments
    def log_hyperparams(self, params: Mapping[str, Any]) -> None:
        self.experiment.config.update(json.loads(json.dumps(params, default=str)), allow_val_change=True)

    def log_text(self, name: str, text: str, step: int) -> None:
        import wandb

        html = wandb.Html(f"<pre>{escape(text)}</pre>")
        self.experiment.log({in_file_name(name): html, "global_step": step})

    @explain_arguments
    def log_image(self, name: str, image: bytes | np.ndarray, step: int) -> None:
        import wandb
        from PIL import Image

        picture = wandb.Image(Image.open(io.BytesIO(png_of(name, image))))
        self.experiment.log({in_file_name(name): picture, "global_step": step})

    def finalize(self, status: str) -> None:
        """End a run that failed; leave any other open, as the next stage may belong to it."""
        if status == "failed":
            self._leave(exit_code=1)
