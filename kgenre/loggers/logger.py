"""The Logger: where metrics, text and hyperparameters of a run are written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgenre.lightning_arguments import explain_arguments
from kgenre.users_code import ShortTraceback

if TYPE_CHECKING:
    import numpy as np


# Attributes of Lightning's loggers, and what to write instead.
_REPLACEMENTS = {
    "log_dir": "write trainer.log_dir",
    "root_dir": "write trainer.experiment_dir",
    "version": "runs are numbered, and trainer.run_dir.name is such as 'version_0'",
    "experiment": "call log_metrics, log_text or log_image of the logger itself",
    "save": "values are written at once: leave it out",
    "watch": "write configure_gradients(self, gradients) in the module to log them",
    **dict.fromkeys(
        ("log_table", "log_audio", "log_video", "use_artifact", "download_artifact"),
        "use that of Weights & Biases itself, logger.experiment",
    ),
}


class LoggerError(ShortTraceback, RuntimeError):
    """A service cannot be used, or a file of a resumed run cannot be read; the message says what to do."""


class Logger:
    """The base of all loggers. ``step`` is always the number of optimizer updates so far, ``trainer.global_step``.

    A run has one folder: with several loggers, the first ``save_dir`` and the first ``name`` are used. A subclass may
    define these as properties, as Lightning's loggers do.

    Args:
        save_dir: the root of the runs; None leaves it to the Trainer's ``default_root_dir``.
        name: the name of the experiment; None leaves it to the Trainer.

    Example:
        >>> class Printed(Logger):
        ...     writes_files = False
        ...     def log_metrics(self, metrics, step):
        ...         print(step, metrics)
        >>> Trainer(logger=Printed())
    """

    writes_files = True  # into the run's folder; without such a logger and without checkpoints there is no folder
    # Patterns (`fnmatch`) of its files and folders: a run that fails before its first step is removed with these.
    files: tuple[str, ...] = ()
    save_dir: str | None = None
    name: str | None = None

    @explain_arguments
    def __init__(self, save_dir: str | None = None, name: str | None = None) -> None:
        if save_dir is not None:
            self.save_dir = save_dir
        if name is not None:
            self.name = name

    if not TYPE_CHECKING:  # a type checker would accept any attribute

        def __getattr__(self, name: str) -> Any:
            """Raise an error that says what to write instead of a Lightning attribute that does not exist here."""
            if name in _REPLACEMENTS and not hasattr(type(self), name):
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r}: {_REPLACEMENTS[name]}.")
            return object.__getattribute__(self, name)  # raises Python's own error, or a property's

    def open(self, run_dir: Path | None, resume_step: int | None = None) -> None:
        """Start writing to the run's folder; with ``resume_step``, continue there.

        What was written at that step and later must be discarded: it is logged again. Only what a test has logged at
        that step is kept: it was of the same weights. ``run_dir`` is None only for a logger that writes no files.
        """

    def leave_run(self) -> None:
        """Stop writing to the run's folder: what follows belongs to no run, until `open` is called again."""

    def not_open(self) -> RuntimeError:
        """Return the error for values that are logged while there is no run's folder to write them to."""
        return RuntimeError(
            f"{type(self).__name__} writes into a run's folder, and none is open: a fit opens one before on_fit_start, "
            "an evaluation only with ckpt_path, or of the module that its trainer has fitted. To check: "
            "trainer.run_dir is not None."
        )

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Write scalars."""

    @explain_arguments
    def log_hyperparams(self, params: Mapping[str, Any]) -> None:
        """Write the run's configuration."""

    def log_text(self, name: str, text: str, step: int) -> None:
        """Write a text (Markdown)."""

    @explain_arguments
    def log_image(self, name: str, image: bytes | np.ndarray, step: int) -> None:
        """Write a picture, if the logger supports pictures.

        Args:
            name: its tag, such as "val/reconstructions".
            image: a PNG, or an array of shape (height, width), (height, width, 1 or 3): uint8, or float from 0 to 1
                (clipped).
            step: its position on the axis, `Module.global_step`.

        Raises:
            ValueError: an array of another shape or type.
        """

    def state_dict(self, step: int) -> dict[str, Any]:
        """Return what a checkpoint of this step keeps besides the trainer's own record of metrics, as JSON values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any], step: int) -> None:
        """Restore what `open` has discarded although it was written before the checkpoint."""

    def finalize(self, status: str) -> None:
        """Flush everything to disk: the stage ended with "success", "interrupted" or "failed". More may follow."""


def takes_pictures(logger: Logger) -> bool:
    """Return whether the logger implements `Logger.log_image`: pictures are drawn only if one does."""
    return type(logger).log_image is not Logger.log_image


def flat_parameters(params: Mapping[str, Any], prefix: str = "") -> dict[str, bool | float | str]:
    """Return parameters with names joined by dots; values other than numbers, booleans and strings become JSON."""
    flat: dict[str, bool | float | str] = {}
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            flat |= flat_parameters(value, f"{prefix}{name}.")
        else:
            plain = isinstance(value, bool | int | float | str)
            flat[f"{prefix}{name}"] = value if plain else json.dumps(value, default=str)
    return flat
