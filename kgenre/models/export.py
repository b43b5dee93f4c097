"""Exports a trained classifier: for TensorFlow or ONNX Runtime without kgenre, or for Keras with kgenre's layers."""

from __future__ import annotations

import errno
import importlib.util
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgenre.checkpoints import find_checkpoint, read_state
from kgenre.checkpoints.files import move, naming
from kgenre.data.kept_films import KeptFilms
from kgenre.training import TrainerError

if TYPE_CHECKING:
    import keras

    from kgenre.models.genre_classifier import GenreClassifier

_log = logging.getLogger("kgenre")
FORMATS = {"saved_model": "saved_model", "onnx": "model.onnx", "keras": "model.keras"}  # format: file or folder
_DTYPES = {"poster": "uint8", "overview": "int32"}


def export_classifier(
    run: str | os.PathLike[str], folder: str | os.PathLike[str], format: str = "saved_model", **arguments: Any
) -> Path:
    """Write a run's classifier into a new folder, with everything needed to use it.

    The model takes what its network reads, raw pixels "poster", uint8 (B, H, W, 3), and token ids "overview", int32
    (B, T), and returns float32 (B, G) probabilities: scaling, mirrored posters and ensembles are part of it. Next to it
    are ``classifier.json`` (genres in the order of the columns, thresholds, how posters and overviews are read, where
    the model comes from), ``vocabulary.txt`` (one word per line; its line number from 0 is its id) and ``classify.py``,
    a single-file program that classifies films with the model.

    Args:
        run: a run's folder (its best checkpoint) or a checkpoint's.
        folder: is created, and must not exist yet.
        format: "saved_model" (TensorFlow's), "onnx", or "keras": one file of Keras, which needs ``import
            kgenre.models.layers`` before it is loaded and can be trained further. The first two need Keras on
            TensorFlow.
        arguments: arguments of `GenreClassifier` that the checkpoint lacks, such as a ``network`` defined in no file.

    Returns:
        The folder.

    Raises:
        TrainerError: an unknown format, an existing folder, a backend that cannot write the format, a missing package,
            or a run that is not of a `GenreClassifier` trained on films.
        CheckpointError: there is no checkpoint.

    Example:
        >>> export_classifier("runs/quickstart/version_0", "exported")
        PosixPath('exported')
    """
    folder = Path(os.path.expanduser(folder))
    _check(folder, format)
    checkpoint = find_checkpoint(run)
    state = read_state(checkpoint)
    films = KeptFilms.of_run(state)
    if films is None or "classifier" not in state:
        raise TrainerError(f"{checkpoint} holds no GenreClassifier trained on films.")
    from kgenre.models.trained_classifier import load_classifier

    module = load_classifier(checkpoint, **arguments)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with naming(folder), tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as unfinished:
        whole = Path(unfinished) / folder.name
        whole.mkdir()
        _write_model(exportable(module), whole / FORMATS[format], format)
        description = _describe(module, films, state["data"]["hyperparameters"], checkpoint)
        (whole / "classifier.json").write_text(
            json.dumps(description, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        if description["overview"]:
            (whole / "vocabulary.txt").write_text("\n".join(films.vocabulary) + "\n", encoding="utf-8")
        shutil.copyfile(Path(__file__).with_name("classify.py"), whole / "classify.py")
        move(whole, folder)
    return folder


def exportable(module: GenreClassifier) -> keras.Model:
    """Return the module's network from raw inputs to probabilities, in Keras's own operations: `export_classifier`."""
    import keras

    from kgenre.kernels import keras_only

    inputs = {
        tensor.name: keras.Input(tensor.shape[1:], dtype=_DTYPES[tensor.name], name=tensor.name)
        for tensor in module.model.inputs
    }
    with keras_only():
        return keras.Model(inputs, module.probabilities(inputs), name=module.model.name)


def _check(folder: Path, format: str) -> None:
    import keras

    if format not in FORMATS:
        raise TrainerError(f"format must be one of {', '.join(FORMATS)}. Received: {format!r}")
    if folder.exists():
        raise TrainerError(f"{folder} already exists. Name a new folder.")
    nearest = next(parent for parent in folder.absolute().parents if parent.exists())
    if not nearest.is_dir():
        raise TrainerError(f"{folder} cannot be created: {nearest} is a file. Name a different folder.")
    if format != "keras" and keras.backend.backend() != "tensorflow":
        raise TrainerError(
            f"The format {format} needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow, which can read checkpoints "
            "of every backend."
        )
    if format == "onnx" and importlib.util.find_spec("tf2onnx") is None:
        raise TrainerError("The format onnx needs tf2onnx: pip install 'kgenre[onnx]'.")


def _write_model(model: keras.Model, path: Path, format: str) -> None:
    import numpy as np

    from kgenre.kernels import keras_only

    if format == "keras":
        model.save(path)
        kinds = {type(layer) for layer in model._flatten_layers()}
        own = sorted(kind.__name__ for kind in kinds if kind.__module__.partition(".")[0] not in ("keras", "kgenre"))
        if own:
            _log.warning(
                "%s contains layers of your own (%s): import them before loading it, each decorated with "
                "keras.saving.register_keras_serializable(). A saved_model needs no code.",
                path.name,
                ", ".join(own),
            )
        return
    shapes = {tensor.name: (1, *(size or 1 for size in tensor.shape[1:])) for tensor in model.inputs}
    with keras_only():  # both formats trace the model again
        model({tensor.name: np.zeros(shapes[tensor.name], tensor.dtype) for tensor in model.inputs})  # needed for ONNX
        try:
            model.export(path, format="tf_saved_model" if format == "saved_model" else format, verbose=False)
        except Exception as error:
            full = os.strerror(errno.ENOSPC)
            if full in str(error):  # TensorFlow raises an error class of its own
                raise OSError(errno.ENOSPC, full, str(path)) from error
            raise


def _describe(
    module: GenreClassifier, films: KeptFilms, arguments: Mapping[str, Any], checkpoint: Path
) -> dict[str, Any]:
    import kgenre

    names = list(films.genre_names)
    per_genre = module.thresholds.per_genre if module.thresholds else [0.5] * len(names)
    height, width = films.image_size
    poster = {"height": height, "width": width, "resize": films.resize}
    overview = {"length": films.sequence_length, "standardize": films.standardize, "stem": films.stem}
    overview["word_split"] = films.word_split
    reads = module.inputs
    return {
        "genres": names,
        "thresholds": list(per_genre),
        "poster": poster if "poster" in reads else None,
        "overview": overview if "overview" in reads else None,
        "one_is_enough": len(reads) == 2 and arguments.get("incomplete") == "keep",
        "network": module.model.name,
        "checkpoint": str(checkpoint),
        "kgenre": kgenre.__version__,
    }
