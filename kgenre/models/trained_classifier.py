"""Loads a run's classifier, of the class that it was trained with."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from kgenre.allowed_imports import may_import, missing_class_message, not_allowed_message, only_allowed_imports
from kgenre.checkpoints import find_checkpoint, read_state
from kgenre.models.genre_classifier import GenreClassifier
from kgenre.training import TrainerError


def load_classifier(run: str | os.PathLike[str], **arguments: Any) -> GenreClassifier:
    """``load_from_checkpoint`` of `GenreClassifier`, or of the user's subclass that the checkpoint names.

    Args:
        run: a run's folder (its best checkpoint) or a checkpoint's.
        arguments: of the class, in place of those in the checkpoint.

    Raises:
        TrainerError: the subclass cannot be found, or may not be imported.
        CheckpointError: there is no checkpoint, or it is damaged or of another model.
    """
    name = read_state(find_checkpoint(run)).get("model", {}).get("class_path", "")
    return _class_of(name).load_from_checkpoint(run, **arguments)


def _class_of(name: str) -> type[GenreClassifier]:
    home, _, last = name.rpartition(".")
    if not home or home.partition(".")[0] == "kgenre":
        return GenreClassifier
    with only_allowed_imports():  # a checkpoint may be a stranger's
        if home not in sys.modules and "<" not in home:
            if not may_import(name):
                raise TrainerError(not_allowed_message(name))
            try:
                importlib.import_module(home)
            except Exception as error:
                message = f"{type(error).__name__}: {error}"
                raise TrainerError(f"The run's class {name} cannot be imported: {message}") from error
    found = getattr(sys.modules.get(home), last, None)
    if found is None:
        raise TrainerError(missing_class_message(name))
    if not (isinstance(found, type) and issubclass(found, GenreClassifier)):
        raise TrainerError(f"The run's class {name} is not a GenreClassifier.")
    return found
