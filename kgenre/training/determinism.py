"""``deterministic``: the same seed gives the same run, bit for bit, on the same machine."""

from __future__ import annotations

import logging
import os
from typing import Literal

from kgenre.training.errors import TrainerError

_log = logging.getLogger("kgenre")


def make_run_deterministic(deterministic: bool | Literal["warn"]) -> None:
    """Ask for a seed and set the backend's switches.

    Raises:
        TrainerError: nothing was seeded ("warn": a warning).
    """
    if not deterministic:
        return
    from kgenre.engines.determinism import make_deterministic

    if "KGENRE_GLOBAL_SEED" not in os.environ:
        message = "deterministic=True needs a seed: call kgenre.seed_everything(0) before the module is created."
        if deterministic != "warn":
            raise TrainerError(message)
        _log.warning(message.replace("True", "'warn'"))
    make_deterministic(warn_only=deterministic == "warn")
