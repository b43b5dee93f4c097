"""Checks the names among `GenreClassifier`'s arguments before a backend is imported."""

from __future__ import annotations

from typing import Any

from kgenre.models.genre_losses import LOSSES
from kgenre.models.named_network import check_name
from kgenre.models.optimizers import OPTIMIZERS
from kgenre.training import TrainerError

_KNOWN = {"optimizer": OPTIMIZERS, "schedule": ("constant", "cosine"), "loss": tuple(LOSSES)}


def check_choices(network: Any = None, **chosen: str) -> None:
    """Reject unknown names.

    Args:
        network: see `GenreClassifier`; checked only if it is a name.
        **chosen: some of its ``optimizer``, ``schedule`` and ``loss``.

    Raises:
        TrainerError: a name is unknown, or names a network that may not be imported.
    """
    if isinstance(network, str):
        check_name(network)
    for name, value in chosen.items():
        if value not in _KNOWN[name]:
            raise TrainerError(f"{name} must be one of {', '.join(_KNOWN[name])}. Received: {value!r}")
