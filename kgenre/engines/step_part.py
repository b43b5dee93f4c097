"""What a callback may compile into each update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import keras

ONLY_SHOWN = "gradient_sample."


class StepPart(Protocol):
    """A computation compiled into each update, after the optimizers: averaged weights, for example."""

    def build(self, module: Any, variables: Mapping[str, keras.Variable]) -> dict[str, keras.Variable]:
        """Create the part's own variables, given the module's by name; return them by their names in a checkpoint.

        A run is resumed with the parts that it had, except those whose names begin with `ONLY_SHOWN`: no weight
        depends on them.
        """

    def after_update(self, gradients: Mapping[str, Any]) -> None:
        """Traced: read the module's variables and the gradients by name, and assign the part's own variables."""

    def exchange(self, arrays: dict[str, Any]) -> None:
        """Change a state (arrays by name) into the form that checkpoints store, in place; a second call reverts it."""
