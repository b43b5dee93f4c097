"""One trial of a sweep: ``kgenre fit`` in a subprocess, so that a crash does not end the others."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from kgenre.checkpoints.files import whole_file
from kgenre.cli.search_space import Values
from kgenre.loggers.hparams import write_hparams
from kgenre.training.run_folder import read_metrics, run_folders

# Exit codes, and negative signals, of a process ended by Ctrl-C, SIGTERM, SIGHUP or Ctrl-Break; last, Windows's Ctrl-C.
_STOPPED = (130, 143, 129, 149, -2, -15, -1, 0xC000013A)


@dataclass(eq=False)
class Trial:
    """A combination of options, with its folder and result.

    The folder holds ``config.yaml``, ``output.log``, ``trial.json`` (the status and score) and the run (``version_0``),
    after those of an earlier sweep whose trial of this number had another configuration.

    Args:
        folder: the trial's folder.
        values: the options that vary, by name.
        config: the complete configuration, as YAML.
        monitor: the logged value to rank by.
        mode: whether its smallest ("min") or largest ("max") is the trial's score.
        numbers: the options whose values are numbers in every trial; the others are text in TensorBoard.
        status: "finished", "failed" or "interrupted"; None: not begun.
        reason: why it failed.
        earlier_runs: names of the runs that had another configuration.
    """

    folder: Path
    values: Values
    config: str
    monitor: str
    mode: str
    numbers: Collection[str] = ()
    status: str | None = None
    score: float | None = None
    seconds: float = 0.0
    reason: str = ""
    earlier_runs: Collection[str] = ()

    def load_finished(self) -> bool:
        """Return whether this exact trial has already finished; if so, load its result."""
        if not self._has_same_config() or (state := self._read_state()).get("status") != "finished":
            return False
        self.earlier_runs = state.get("earlier_runs", ())
        self.status, self.score, self.seconds = "finished", self._read_score(), state["seconds"]
        return self.score is not None

    def run(self) -> None:
        """Train in a subprocess; an interrupted trial resumes from its last checkpoint.

        Raises:
            KeyboardInterrupt: Ctrl-C came when the trial was ending; its result has been saved.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._has_same_config():
            self.earlier_runs = self._read_state().get("earlier_runs", ())
        else:
            self.earlier_runs = [run.name for run in run_folders(self.folder)]
        started, self.status, stop = time.time(), "interrupted", None
        self._write_state()  # before the configuration, with which the earlier runs would count as its own
        begun, config = self.run_dir, self.folder / "config.yaml"
        with whole_file(config) as partial:
            partial.write_text(self.config, encoding="utf-8")
        command = [sys.executable, "-m", "kgenre", "fit", "--config", str(config)]
        if begun is not None and any(begun.glob("checkpoints/last")):
            command += ["--ckpt_path", "last"]
        with (self.folder / "output.log").open("ab") as log:
            child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            try:
                code = child.wait()
            except KeyboardInterrupt as ctrl_c:  # the trial received it too: let it write its checkpoint
                stop, code = ctrl_c, child.wait()
            except BaseException:
                child.terminate()
                child.wait()
                raise
        self.seconds = time.time() - started
        if code in _STOPPED:
            return
        self.score = self._read_score() if code == 0 else None
        self.status = "failed" if self.score is None else "finished"
        if self.score is None:
            self.reason = self._why_unranked() if code == 0 else self._last_line()
        self._write_state()
        if self.run_dir is not None:
            columns = {name: float(v) if name in self.numbers else str(v) for name, v in self.values.items()}
            write_hparams(self.run_dir, columns, self.score, started, time.time())
        if stop is not None:
            raise stop

    @property
    def run_dir(self) -> Path | None:
        """The folder of the newest run with this configuration, if its training ever began."""
        runs = [run for run in run_folders(self.folder) if run.name not in self.earlier_runs]
        return runs[-1] if runs else None

    @property
    def films(self) -> str:
        """The run's ``split.json``, which lists its films; "" for other data."""
        split = None if self.run_dir is None else self.run_dir / "split.json"
        return split.read_text(encoding="utf-8") if split is not None and split.is_file() else ""

    def _read_state(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.folder / "trial.json").read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError):  # not begun, or truncated by a kill or a full disk
            return {}

    def _write_state(self) -> None:
        names = ("status", "values", "score", "seconds", "earlier_runs")
        state = {name: getattr(self, name) for name in names}
        with whole_file(self.folder / "trial.json") as partial:
            partial.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")

    def _has_same_config(self) -> bool:
        config = self.folder / "config.yaml"
        return config.exists() and config.read_text(encoding="utf-8") == self.config

    def _read_score(self) -> float | None:
        """Return the best finite value of the monitored metric; None if there is none."""
        if self.run_dir is None:
            return None
        metrics = self.run_dir / "metrics.csv"
        if metrics.exists():
            with metrics.open(newline="", encoding="utf-8-sig") as file:
                seen = [float(row[self.monitor]) for row in csv.DictReader(file) if row.get(self.monitor)]
        else:  # the run has other loggers
            final = json.loads((self.run_dir / "metrics.json").read_text(encoding="utf-8")).get(self.monitor)
            seen = [] if final is None else [final]
        seen = [value for value in seen if math.isfinite(value)]
        return (min if self.mode == "min" else max)(seen, default=None)

    def _why_unranked(self) -> str:
        """Return why a run that has ended has no score."""
        logged = read_metrics(self.run_dir) if self.run_dir is not None else {}
        if self.monitor in logged:
            return f"{self.monitor} was never finite"
        near = get_close_matches(self.monitor, logged, 1)
        return f"{self.monitor} was not logged" + (f"; did you mean {near[0]}?" if near else "")

    def _last_line(self) -> str:
        lines = (self.folder / "output.log").read_text(encoding="utf-8", errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip() and not line.startswith("Options: ")]
        return said[-1] if said else "no output"

    def __str__(self) -> str:
        values = "  ".join(f"{name.rpartition('.')[2]} {shown(value)}" for name, value in self.values.items())
        result = self.reason or self.status if self.score is None else f"{self.monitor} {self.score:.4g}"
        return f"{self.folder.name}  {values}  {result}  {self.seconds:.0f} s"


def shown(value: Any) -> str:
    """Format a value for a table."""
    return f"{value:g}" if isinstance(value, float) else str(value)
