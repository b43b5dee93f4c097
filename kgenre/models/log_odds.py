"""Probabilities as log-odds."""

from __future__ import annotations

from typing import Any


def log_odds(probabilities: Any) -> Any:
    """Return ``log(p / (1 - p))`` of a tensor of any shape, finite for 0 and 1 too: p is clipped 1e-7 from both."""
    from keras import ops

    p = ops.clip(probabilities, 1e-7, 1 - 1e-7)
    return ops.log(p) - ops.log(1 - p)
