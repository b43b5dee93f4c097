"""Metrics as a CSV table, ``metrics.csv`` in the run's folder."""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from kgenre.checkpoints.files import naming
from kgenre.loggers.logger import Logger, LoggerError

_log = logging.getLogger("kgenre")


class CSVLogger(Logger):
    """One row per step that logged something, one column per name, empty where nothing was logged.

    Values of the same step share a row. A name that first appears later adds a column: the file is then rewritten
    once, as it is when another program has changed it. While the file cannot be written, because the disk is full or,
    on Windows, a spreadsheet has it open, training continues and the rows wait. A value with the name of the first
    column, "step", is not written.

    Args:
        save_dir: the root of the runs; None leaves it to the Trainer's ``default_root_dir``.
        name: the name of the experiment; None leaves it to the Trainer.

    Raises:
        LoggerError: (when a run is resumed) another program has saved its table in another format.

    Example:
        >>> Trainer(logger=CSVLogger("runs", name="poster_cnn"))
    """

    files = ("metrics.csv",)

    _path: Path | None = None

    def open(self, run_dir: Path | None, resume_step: int | None = None) -> None:
        if run_dir is None:
            raise self.not_open()
        path, self._path = run_dir / "metrics.csv", None  # stays None if reading fails
        self._rows: dict[int, dict[str, str]] = {}
        self._columns: list[str] = []
        if path.exists():
            try:
                self._read(path, resume_step)
            except (KeyError, TypeError, ValueError, csv.Error) as error:
                raise LoggerError(
                    f"{path} is no longer a table of steps: did a spreadsheet program save it? Restore the old file, "
                    "or move this one away to begin a new table."
                ) from error
        self._path = path
        self._size = -1  # of the file after the last write; -1: the next row rewrites it
        self._last_step = self._last_row = 0  # the step of the last row, and its offset
        self._is_behind = False

    def leave_run(self) -> None:
        self._path = None

    def _read(self, path: Path, resume_step: int | None) -> None:
        with path.open(newline="", encoding="utf-8-sig") as file:  # a spreadsheet may have added a byte order mark
            # A line without a line break was truncated by a full disk: its last number may be wrong, so drop it.
            reader = csv.DictReader(line for line in file if line.endswith(("\n", "\r")))
            self._columns = [name for name in reader.fieldnames or [] if name != "step"]
            for row in reader:
                step = int(row.pop("step"))
                if None in row:
                    raise ValueError(f"step {step} has more values than there are columns")
                known = {name: value for name, value in row.items() if value}
                if resume_step is None or step < resume_step:
                    self._rows[step] = known
                elif step == resume_step and (tested := {n: v for n, v in known.items() if n.startswith("test/")}):
                    self._rows[step] = tested

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        if self._path is None:
            raise self.not_open()
        metrics = {name: value for name, value in metrics.items() if name != "step"}
        new = [name for name in metrics if name not in self._columns]
        self._columns += new
        row = self._rows.setdefault(step, {})
        row |= {name: f"{value:.9g}" for name, value in metrics.items()}
        try:
            if new or not self._is_as_left(self._path) or step < self._last_step:
                self._write_all(self._path)
            else:
                self._write_last(self._path, step)
        except OSError as error:
            if not self._is_behind:
                _log.warning("%s cannot be written (%s). Training continues; rows wait.", self._path, _reason(error))
            self._size, self._is_behind = -1, True
        else:
            self._is_behind = False

    def _is_as_left(self, path: Path) -> bool:
        with suppress(OSError):
            return path.stat().st_size == self._size
        return False

    def _write_last(self, path: Path, step: int) -> None:
        """Write the last row in time independent of the table's length: an epoch's end adds values to its last step."""
        line = io.StringIO()
        csv.DictWriter(line, self._header).writerow({"step": step, **self._rows[step]})
        with path.open("r+b") as file:
            if step > self._last_step:
                self._last_step, self._last_row = step, file.seek(0, os.SEEK_END)
            file.truncate(self._last_row)  # first: a kill now loses a row, which a resumed run writes again
            file.seek(self._last_row)
            file.write(line.getvalue().encode())
            self._size = file.tell()

    def finalize(self, status: str) -> None:
        """Write the rows that are still waiting."""
        if self._path is not None and self._is_behind:
            try:
                self._write_all(self._path)
                self._is_behind = False
            except OSError as error:
                partial = self._path.with_suffix(".csv.partial")
                kept = f"; {partial.name} has them" if partial.exists() else ""
                why = error.strerror or error
                _log.warning("%s lacks rows, as it cannot be written (%s)%s.", self._path, why, kept)

    @property
    def _header(self) -> list[str]:
        return ["step", *self._columns]

    def _write_all(self, path: Path) -> None:
        partial = path.with_suffix(".csv.partial")
        try:
            with naming(path), partial.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self._header)
                writer.writeheader()
                *earlier, (step, last) = sorted(self._rows.items())
                writer.writerows({"step": step, **row} for step, row in earlier)
                self._last_step, self._last_row = step, file.tell()
                writer.writerow({"step": step, **last})
        except OSError:  # half a table, on a full disk
            with suppress(OSError):
                partial.unlink()
            raise
        partial.replace(path)  # if another program has the file open, the temporary one stays
        self._size = path.stat().st_size


def _reason(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"{error.strerror}: if another program has it open, close it there"
    return error.strerror or str(error)
