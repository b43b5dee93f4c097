"""The Profiler, which is called when an action of a run begins and ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgenre.checkpoints.files import naming
from kgenre.lightning_arguments import explain_arguments

if TYPE_CHECKING:
    from kgenre.engines import Engine

_ENGINE = ("build", "add_stage", "train_step", "train_steps", "eval_step", "epoch_logs", "to_host", "sync", "pull")


class Profiler:
    """The base of all profilers: override `start`, `stop` and `summary`.

    Actions are the calls of the engine ("[Engine]train_step"), waiting for a batch ("[Data]next"), the hooks of
    callbacks and of the module ("[Callback]ModelCheckpoint(val/loss).on_validation_end", "[Module]Net.on_fit_start"),
    and your own, with `profile`. A step enqueues work on the device and returns; the wait for it shows where values are
    fetched ("[Engine]to_host", "[Engine]epoch_logs").

    The summary is printed when a stage is over, and written to ``<stage>-<filename>.txt``.

    Args:
        dirpath: the folder of that file; None: the run's. A run without a folder writes none.
        filename: its name.

    Example:
        >>> class Net(Module):
        ...     def on_train_epoch_end(self):
        ...         with self.trainer.profiler.profile("draw"):
        ...             draw()
    """

    @explain_arguments
    def __init__(self, dirpath: str | Path | None = None, filename: str = "profile") -> None:
        self.dirpath = dirpath
        self.filename = filename
        self.stage: str | None = None
        self.log_dir: Path | None = None  # the run's folder, once it is open
        self.engine: Engine  # the last one passed to `watch`

    @property
    def files(self) -> tuple[str, ...]:
        """Patterns (`fnmatch`) of its files and folders in the run's: a run without a step is removed with these."""
        return (f"fit-{self.filename}*",)

    def setup(self, stage: str) -> None:
        """Begin a stage ("fit", "validate", "test", "predict"), and discard what was measured before."""
        self.stage, self.log_dir = stage, None

    def start(self, action_name: str) -> None:
        """Begin an action."""

    def stop(self, action_name: str) -> None:
        """End the action."""

    def summary(self) -> str:
        """Return what was measured, as text."""
        return ""

    def describe(self) -> None:
        """Print the summary and write it to its file."""
        text = self.summary()
        if text:
            print(text)
            self.write(text)

    def write(self, text: str) -> Path | None:
        """Write a text to the file and return its path; None without a folder."""
        folder = self.dirpath or self.log_dir
        if folder is None:
            return None
        path = Path(folder) / f"{self.stage}-{self.filename}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        with naming(path):
            path.write_text(text + "\n", encoding="utf-8")
        return path

    @contextmanager
    def profile(self, action_name: str) -> Iterator[None]:
        """Measure a block as an action."""
        self.start(action_name)
        try:
            yield
        finally:
            self.stop(action_name)

    # --- called by the trainer --------------------------------------------------------------------------------------

    def profiled(self, action_name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, with each call measured as an action."""

        def call(*arguments: Any, **named: Any) -> Any:
            with self.profile(action_name):
                return function(*arguments, **named)

        return call

    def watch(self, engine: Engine) -> None:
        """Measure an engine's calls, and the waits for its batches, as actions."""
        self.engine = engine
        calls = {name: self.profiled(f"[Engine]{name}", getattr(engine, name)) for name in _ENGINE}
        prefetch = engine.prefetch

        def timed(batches: Iterable[Any], *arguments: Any, **named: Any) -> Iterator[Any]:
            ahead = iter(prefetch(batches, *arguments, **named))
            over = object()
            while True:
                with self.profile("[Data]next"):
                    batch = next(ahead, over)
                if batch is over:
                    return
                yield batch

        for name, call in {**calls, "prefetch": timed}.items():
            setattr(engine, name, call)
