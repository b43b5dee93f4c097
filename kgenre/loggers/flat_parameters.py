"""Flattens nested parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def flat_parameters(params: Mapping[str, Any], prefix: str = "") -> dict[str, bool | float | str]:
    """Return parameters with names joined by dots; values other than numbers, booleans and strings become JSON."""
    flat: dict[str, bool | float | str] = {}
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            flat |= flat_parameters(value, f"{prefix}{name}.")
        else:
            plain = isinstance(value, bool | int | float | str)
            flat[f"{prefix}{name}"] = value if plain else json.dumps(value, default=str)
    return flat
