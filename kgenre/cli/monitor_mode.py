"""Whether smaller or larger values of a logged metric are better, by its name."""

from __future__ import annotations

import re
from typing import Literal

from kgenre.cli.usage import UsageError

_SMALLER = frozenset(("loss", "error", "mse", "mae", "rmse", "brier", "ece", "coverage"))
_LARGER = frozenset(("accuracy", "acc", "map", "ap", "lrap", "auc", "f1", "precision", "recall", "hit"))


def mode_of(monitor: str) -> Literal["min", "max"]:
    """Return "min" or "max" for a metric whose name tells, such as "val/loss" or "val/roc_auc".

    Raises:
        UsageError: the name does not tell.

    Example:
        >>> mode_of("val/tuned_f1_micro"), mode_of("val/hamming_loss")
        ('max', 'min')
    """
    words = set(re.split(r"[^a-z0-9]+", monitor.lower()))
    if words & _SMALLER:
        return "min"
    if words & _LARGER:
        return "max"
    raise UsageError(f"The name {monitor} does not tell whether smaller or larger is better: give --mode min or max.")
