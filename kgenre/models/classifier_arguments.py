"""Checks `GenreClassifier`'s arguments before a backend is imported."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, SupportsFloat

from kgenre.models.genre_losses import LOSSES
from kgenre.models.named_network import check_name
from kgenre.models.optimizers import OPTIMIZERS, check_optimizer
from kgenre.training import TrainerError

_CHOICES = {"optimizer": OPTIMIZERS, "schedule": ("constant", "cosine"), "loss": tuple(LOSSES)}
_SHARE: tuple[str, Callable[[Any], bool]] = "at least 0 and below 1", lambda value: 0 <= value < 1
_NUMBERS: dict[str, tuple[str, Callable[[Any], bool]]] = {  # what each must be
    "learning_rate": ("finite and above 0", lambda value: 0 < value < math.inf),
    "mixup": ("finite and at least 0", lambda value: 0 <= value < math.inf),
    "cutmix": ("finite and at least 0", lambda value: 0 <= value < math.inf),
    "warmup": _SHARE,
    "label_smoothing": _SHARE,
    "weight_decay": _SHARE,
    "members": ("from 1 to 1000", lambda value: 1 <= value <= 1000),
}


def check_arguments(given: Mapping[str, Any]) -> None:
    """Reject unknown names, and numbers that are out of range.

    Args:
        given: some of its arguments, by name; others are ignored. The network is checked only if it is a name.

    Raises:
        TrainerError: a value is invalid, or names a network that may not be imported.
    """
    if isinstance(given.get("network"), str):
        check_name(given["network"])
    for name, choices in _CHOICES.items():
        if name in given and given[name] not in choices:
            raise TrainerError(f"{name} must be one of {', '.join(choices)}. Received: {given[name]!r}")
    for name, (what, is_valid) in _NUMBERS.items():
        if name in given and not (isinstance(given[name], SupportsFloat) and is_valid(given[name])):
            raise TrainerError(f"{name} must be {what}. Received: {given[name]!r}")
    for name, settings in (given.get("layer_optimizers") or {}).items():
        check_optimizer(f"layer_optimizers: {name}", settings)
