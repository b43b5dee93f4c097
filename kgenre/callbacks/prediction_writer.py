"""Write predictions to the disk, batch by batch or at the end."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kgenre.callbacks.callback import Callback
from kgenre.checkpoints.files import naming
from kgenre.lightning_arguments import explain_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kgenre.training.module import Module
    from kgenre.training.trainer import Trainer

_log = logging.getLogger("kgenre")


class PredictionWriter(Callback):
    """Writes what ``predict_step`` returns; override the two ``write_*`` methods for another format.

    By default a file for each batch (``batch_000000.npz``, ...), or one ``predictions.npz`` with all rows: an array for
    each entry of a dict ("a/b" for one inside another), "predictions" for a bare tensor. With
    ``trainer.predict(..., return_predictions=False)`` and "batch" no more than a batch is held in memory. bfloat16 is
    written as float32, because NumPy's files have no bfloat16. Files of an earlier prediction with more batches are
    kept, with a warning.

    Args:
        output_dir: where to write; None: ``predictions`` in the run's folder.
        write_interval: "batch", "epoch" or "batch_and_epoch".

    Raises:
        ValueError: another interval, an interval in place of the folder, or (when the first file is written) there is
            no folder to write to.

    Example:
        >>> trainer = Trainer(callbacks=PredictionWriter("predictions"))
        >>> trainer.predict(module, batches, return_predictions=False)
    """

    @explain_arguments
    def __init__(
        self,
        output_dir: str | Path | None = None,
        write_interval: Literal["batch", "epoch", "batch_and_epoch"] = "batch",
    ) -> None:
        if output_dir in ("batch", "epoch", "batch_and_epoch"):  # the first argument in Lightning
            raise ValueError(
                f"PredictionWriter(output_dir, write_interval): the first argument is a folder. Write "
                f"write_interval={output_dir!r}, or Path({output_dir!r}) if the folder has this name."
            )
        self.output_dir = output_dir
        self.write_interval = write_interval
        self._predictions: list[Any] = []
        self._written = 0
        self._folder: Path | None = None  # with the files of single batches

    def write_on_batch_end(
        self,
        trainer: Trainer,
        module: Module,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write one batch's prediction, NumPy arrays. ``batch_indices`` is None, as in Lightning's signature."""
        self._folder = self._save(trainer, _file(self._written), prediction)

    def write_on_epoch_end(
        self, trainer: Trainer, module: Module, predictions: Sequence[Any], batch_indices: Sequence[Any] | None
    ) -> None:
        """Write all batches' predictions."""
        import numpy as np

        rows: dict[str, list[Any]] = {}
        for prediction in predictions:
            for name, array in _named(prediction).items():
                rows.setdefault(name, []).append(np.atleast_1d(array))
        self._save(trainer, "predictions.npz", {name: np.concatenate(arrays) for name, arrays in rows.items()})

    def on_predict_start(self, trainer: Trainer, module: Module) -> None:
        """Forget an earlier prediction."""
        self._predictions, self._written, self._folder = [], 0, None

    def on_predict_batch_end(
        self, trainer: Trainer, module: Module, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Fetch the prediction; write it, keep it for the end, or both."""
        prediction = trainer.engine.to_host(outputs)
        if "epoch" in self.write_interval:
            self._predictions.append(prediction)
        if "batch" in self.write_interval:
            self.write_on_batch_end(trainer, module, prediction, None, batch, batch_idx, dataloader_idx)
        self._written += 1

    def on_predict_epoch_end(self, trainer: Trainer, module: Module) -> None:
        """Write the kept predictions, and warn of files from an earlier prediction."""
        if "epoch" in self.write_interval:
            self.write_on_epoch_end(trainer, module, self._predictions, None)
            self._predictions = []
        if self._folder is not None:
            earlier = [path for path in self._folder.glob("batch_*.npz") if path.name >= _file(self._written)]
            if earlier:
                _log.warning(
                    "%s also contains %d files of an earlier prediction, from %s on.",
                    self._folder,
                    len(earlier),
                    min(earlier).name,
                )

    def _save(self, trainer: Trainer, name: str, prediction: Any) -> Path:
        import numpy as np

        if self.output_dir is not None:
            folder = Path(os.path.expanduser(self.output_dir))
        elif trainer.run_dir is not None:
            folder = trainer.run_dir / "predictions"
        else:
            raise ValueError("PredictionWriter() has no folder to write to: pass output_dir, or predict from a run.")
        folder.mkdir(parents=True, exist_ok=True)
        with naming(folder / name):
            np.savez(folder / name, **_named(prediction))
        return folder


def _file(batch: int) -> str:
    return f"batch_{batch:06d}.npz"


def _named(prediction: Any) -> dict[str, Any]:
    import keras

    from kgenre.engines.built_module import as_saved

    leaves = keras.tree.flatten_with_path(prediction)
    return {"/".join(map(str, path)) or "predictions": as_saved(leaf) for path, leaf in leaves}
