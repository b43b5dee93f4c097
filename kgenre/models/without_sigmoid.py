"""A network's log-odds, for probabilities too near to 0 or 1 for float32 to tell the difference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from kgenre.models.fused_log_odds import FusedLogOdds


@contextmanager
def without_sigmoid(model: Any) -> Iterator[bool]:
    """Make a network return log-odds in place of probabilities in the block, if it and its members end in a sigmoid.

    In float32, the sigmoid of a number above 17 is 1 and has no gradient. Yields whether the network returns log-odds;
    if not, it is unchanged.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, activation="sigmoid")])
        >>> with without_sigmoid(model) as gives_log_odds:
        ...     said = model(np.ones((1, 2)))
    """
    import keras

    ends = _ends(model)
    if any(getattr(end, "activation", None) is not keras.activations.sigmoid for end in ends):
        yield False
        return
    with ExitStack() as afterwards:
        for end in ends:
            afterwards.callback(object.__setattr__, end, "activation", end.activation)
            object.__setattr__(end, "activation", keras.activations.linear)  # Keras's __setattr__ would track it
        yield True


def _ends(model: Any) -> list[Any]:
    """Return the output layer of the network and those of its members; None for one that cannot be determined."""
    import keras

    outputs = getattr(model, "outputs", None) or [None]
    made_by = getattr(outputs[0], "_keras_history", None)
    last = model.layers[-1] if made_by is not None and made_by.operation is model.layers[-1] else None
    if not isinstance(last, FusedLogOdds):
        return [last]
    return [last, *(end for layer in model.layers if isinstance(layer, keras.Model) for end in _ends(layer))]
