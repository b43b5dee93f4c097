"""Show a run's progress: a bar on a terminal or in a notebook, one line per epoch elsewhere."""

from __future__ import annotations

import contextlib
import math
import os
import time
from typing import TYPE_CHECKING, Any

from kgenre.callbacks.callback import Callback
from kgenre.callbacks.notebook_bar import NotebookBar
from kgenre.callbacks.results_table import formatted, print_results
from kgenre.callbacks.terminal_bar import TerminalBar
from kgenre.lightning_arguments import explain_arguments
from kgenre.quoted_path import quoted_path

if TYPE_CHECKING:
    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer


class ProgressBar(Callback):
    """A bar and a line per epoch on a terminal or in a notebook, only the lines in a log file, then the results.

    If nothing can be written, on a full disk or a terminal that was closed, training continues.

    A file counts as a log file even if ``FORCE_COLOR`` is set. In a notebook everything is text in one output.

    Args:
        refresh_rate: redraw every n batches. Drawing never waits for the device: it shows the newest metrics that
            were fetched.

    Raises:
        ValueError: ``refresh_rate`` is below 1.

    Example:
        >>> Trainer(callbacks=[ProgressBar(refresh_rate=20)])
    """

    @explain_arguments
    def __init__(self, refresh_rate: int = 1) -> None:
        if refresh_rate < 1:
            raise ValueError(f"ProgressBar(refresh_rate=...) must be at least 1. Received: {refresh_rate}")
        self.refresh_rate = refresh_rate
        self._bar: TerminalBar | NotebookBar | None = None
        self._started = 0.0
        self._done = 0

    def setup(self, trainer: Trainer, module: Module, stage: str) -> None:
        """Choose between bar and lines."""
        self._bar = choose_bar()

    def teardown(self, trainer: Trainer, module: Module, stage: str) -> None:
        """Close the bar."""
        self._close()

    def on_exception(self, trainer: Trainer, module: Module, exception: BaseException) -> None:
        """Close the bar, so that it does not hide the error message."""
        self._close()

    # --- training -----------------------------------------------------------------------------------------------

    def on_train_epoch_start(self, trainer: Trainer, module: Module) -> None:
        """Start the epoch's bar."""
        self._started = time.perf_counter()
        self._open(self._epoch(trainer), trainer.num_training_batches, trainer.batch_idx)

    def next_step_needed(self, trainer: Trainer) -> float:
        """Request no particular update: the bar may advance several steps at once."""
        return math.inf

    def on_train_batch_end(
        self, trainer: Trainer, module: Module, outputs: dict[str, Any], batch: Any, batch_idx: int
    ) -> None:
        """Advance the bar."""
        self._advance(batch_idx, trainer)

    def on_train_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """Print one line with the epoch's values in place of the bar."""
        self._close()
        seconds = time.perf_counter() - self._started
        self._print(self._epoch(trainer), f"step {trainer.global_step}", *self._metrics(trainer), f"{seconds:.1f} s")

    def on_fit_end(self, trainer: Trainer, module: Module) -> None:
        """Print the final values and where the run's files are."""
        with contextlib.suppress(OSError):
            self._conclude(trainer)

    def _conclude(self, trainer: Trainer) -> None:
        values, logged = trainer.callback_metrics, trainer.logged_metrics
        # Values logged with logger=False are details for metrics.json only.
        shown = {n: value for n, value in values.items() if n in logged or f"{n}_epoch" in logged}
        print_results(shown, when="last epoch")  # the best epoch's score is printed with its checkpoint
        if trainer.run_dir is None:
            return
        print(f"Run folder: {trainer.run_dir}", flush=True)
        checkpoint = next((each for each in trainer.checkpoint_callbacks if each.best_model_path is not None), None)
        if checkpoint is not None and checkpoint.best_model_score is not None:
            score = f"{checkpoint.monitor} {formatted(checkpoint.best_model_score)}"
            print(f"Best checkpoint: {checkpoint.best_model_path} ({score})", flush=True)
        if any("events.out.tfevents.*" in logger.files for logger in trainer.loggers):
            is_cell = isinstance(self._bar, NotebookBar)
            command = "\n%load_ext tensorboard\n%tensorboard --logdir" if is_cell else " kgenre tensorboard"
            print(f"Curves:{command} {quoted_path(trainer.run_dir.parent.parent)}", flush=True)

    # --- evaluation ---------------------------------------------------------------------------------------------

    def on_validation_start(self, trainer: Trainer, module: Module) -> None:
        """Start a bar for validate, test and predict; during a fit, mark the epoch's bar as validating."""
        if trainer.stage != "fit":
            self._open(str(trainer.stage), trainer.num_evaluation_batches)
        elif self._bar is not None:
            self._bar.update(metrics="validating")

    def on_validation_batch_end(
        self, trainer: Trainer, module: Module, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Advance the bar, which counts the batches of all sources."""
        if trainer.stage != "fit":
            self._advance(self._done, trainer)

    def on_validation_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """Close the bar, before the results are printed."""
        if trainer.stage != "fit":
            self._close()

    on_test_start = on_predict_start = on_validation_start
    on_test_batch_end = on_predict_batch_end = on_validation_batch_end
    on_test_epoch_end = on_predict_epoch_end = on_validation_epoch_end

    # --- drawing ------------------------------------------------------------------------------------------------

    def _open(self, title: str, total: int | float, completed: int = 0) -> None:
        self._done = completed  # batches, of all sources in an evaluation
        if self._bar is not None:
            self._bar.open(title, total, completed)

    def _advance(self, batch_idx: int, trainer: Trainer) -> None:
        self._done = batch_idx + 1
        if self._bar is not None and self._done % self.refresh_rate == 0:
            self._bar.update(self._done, "  ".join(self._metrics(trainer)))

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _print(self, *parts: str) -> None:
        if self._bar is not None:
            self._bar.line(*parts)
        else:
            with contextlib.suppress(OSError):
                print("  ".join(parts), flush=True)

    @staticmethod
    def _epoch(trainer: Trainer) -> str:
        last = "" if math.isinf(trainer.max_epochs) else f"/{trainer.max_epochs}"
        return f"epoch {trainer.current_epoch + 1}{last}"

    @staticmethod
    def _metrics(trainer: Trainer) -> list[str]:
        return [f"{name} {formatted(value)}" for name, value in trainer.progress_bar_metrics.items()]


def choose_bar() -> TerminalBar | NotebookBar | None:
    """Return the bar for this output; None: a log file, a pipe, or a notebook cell that runs ``!kgenre``."""
    from rich.console import Console

    console = Console()
    if console.is_jupyter:
        return NotebookBar()
    # FORCE_COLOR, which many build servers set, makes rich take a log file for a terminal.
    is_terminal = console.is_interactive and console.file.isatty()
    return TerminalBar(console) if is_terminal and not _is_run_by_notebook() else None


def _is_run_by_notebook() -> bool:
    """Whether a notebook's kernel started this process: its output looks like a terminal without a movable cursor."""
    return "JPY_PARENT_PID" in os.environ or "backend_inline" in os.environ.get("MPLBACKEND", "")
