"""Probabilities as log-odds."""

from __future__ import annotations

from typing import Any


def log_odds(probabilities: Any) -> Any:
    """Return ``log(p / (1 - p))``, finite for 0 and 1 too: p is kept 1e-7 from both. Any shape, of the backend."""
    from keras import ops

    p = ops.clip(probabilities, 1e-7, 1 - 1e-7)
    return ops.log(p) - ops.log(1 - p)
