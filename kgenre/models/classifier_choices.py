"""What `GenreClassifier` is told by name: whether it knows the name, which is said before a backend is imported."""

from __future__ import annotations

from typing import Any

from kgenre.models.genre_losses import LOSSES
from kgenre.models.named_network import check_name
from kgenre.models.optimizers import OPTIMIZERS
from kgenre.training import TrainerError

_KNOWN = {"optimizer": OPTIMIZERS, "schedule": ("constant", "cosine"), "loss": tuple(LOSSES)}


def check_choices(network: Any = None, **chosen: str) -> None:
    """Refuse an unknown name.

    Args:
        network: see `GenreClassifier`; what is no name is not looked at.
        **chosen: some of its ``optimizer``, ``schedule`` and ``loss``.

    Raises:
        TrainerError: it is not one of those that there are.
    """
    if isinstance(network, str):
        check_name(network)
    for name, value in chosen.items():
        if value not in _KNOWN[name]:
            raise TrainerError(f"{name} is one of {', '.join(_KNOWN[name])}. Received: {value!r}")
