"""``deterministic``: the same seed gives the same run, bit for bit, on the same machine."""

from __future__ import annotations

import logging
from typing import Literal

from kgenre.training.errors import TrainerError

_log = logging.getLogger("kgenre")


def make_run_deterministic(deterministic: bool | Literal["warn"]) -> None:
    """Require a seed, and set the backend's switches for determinism.

    Raises:
        TrainerError: nothing has seeded Keras in this process ("warn": only a warning).
    """
    if not deterministic:
        return
    from kgenre.engines.determinism import make_deterministic
    from kgenre.engines.random_state import is_seeded

    if not is_seeded():
        message = "deterministic=True needs a seed: call kgenre.seed_everything(0) before the module is created."
        if deterministic != "warn":
            raise TrainerError(message)
        _log.warning(message.replace("True", "'warn'"))
    make_deterministic(warn_only=deterministic == "warn")
