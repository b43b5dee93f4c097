"""Read the results of an interrupted benchmark, so that it can be resumed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def earlier_results(output: Path | None, identity: dict[str, Any]) -> dict[str, Any]:
    """Return what ``output`` contains, {} if it does not exist; exit with 2 if it was measured under other conditions.

    Args:
        output: a JSON file of the same benchmark.
        identity: the entries that apply to all its rows, such as the device: new rows must not be mixed with others.

    Example:
        >>> earlier_results(Path("absent.json"), {"device": "cpu"})
        {}
    """
    if output is None or not output.exists():
        return {}
    results: dict[str, Any] = json.loads(output.read_text())
    for name, value in identity.items():
        if name in results and results[name] != value:
            print(
                f"{output} has results with {name}={results[name]}, not {value}. Set another --output.", file=sys.stderr
            )
            sys.exit(2)
    return results
