"""Loss functions for independent genres.

Each takes ``genres``, float (B, G), 1 where a film has the genre, ``probabilities``, float (B, G), and ``frequencies``,
(G,), the share of the training films with each genre, and returns the loss per film and genre, (B, G).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_SMALLEST = 1e-7  # probabilities are clipped this far from 0 and 1, as in Keras


def binary_crossentropy(genres: Any, probabilities: Any, frequencies: Any = None) -> Any:
    """Minus the log-likelihood, in nats: ``-(y log p + (1 - y) log (1 - p))``; genres may be anything in [0, 1]."""
    from keras import ops

    p = ops.clip(probabilities, _SMALLEST, 1 - _SMALLEST)
    return -(genres * ops.log(p) + (1 - genres) * ops.log(1 - p))


def weighted_binary_crossentropy(genres: Any, probabilities: Any, frequencies: Any) -> Any:
    """Cross-entropy with more weight on films that have a rare genre.

    A film with a genre of frequency f has weight ``sqrt((1 - f) / f)``, with the square root so that the rarest genres
    do not dominate (Mahajan et al., 2018, https://arxiv.org/abs/1805.00932). The probabilities are no longer
    calibrated: use it for thresholds and ranks.
    """
    from keras import ops

    weight = ops.sqrt((1 - frequencies) / frequencies)
    return (genres * weight + (1 - genres)) * binary_crossentropy(genres, probabilities)


def focal(genres: Any, probabilities: Any, frequencies: Any = None) -> Any:
    """Cross-entropy with little weight on what is already learned: multiplied by ``|y - p|^2``.

    Lin et al. (2017), https://arxiv.org/abs/1708.02002, without their class weight.
    """
    from keras import ops

    return ops.square(genres - probabilities) * binary_crossentropy(genres, probabilities)


def asymmetric(genres: Any, probabilities: Any, frequencies: Any = None) -> Any:
    """Cross-entropy in which easy films without the genre count little, and the easiest not at all.

    For a film without the genre, p is lowered by a margin of .05 and the loss multiplied by ``p^4``: Ridnik et al.
    (2021), https://arxiv.org/abs/2009.14119, with their settings (gamma+ 0, gamma- 4).
    """
    from keras import ops

    p = ops.clip(probabilities, _SMALLEST, 1 - _SMALLEST)
    lowered = ops.maximum(probabilities - 0.05, 0)
    missed = -(lowered**4) * ops.log(ops.clip(1 - lowered, _SMALLEST, 1.0))
    return -genres * ops.log(p) + (1 - genres) * missed


LOSSES: dict[str, Callable[..., Any]] = {
    loss.__name__: loss for loss in (binary_crossentropy, weighted_binary_crossentropy, focal, asymmetric)
}
