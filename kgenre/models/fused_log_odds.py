"""Late fusion: combines the predictions of several networks into one."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kgenre.models.log_odds import log_odds, prior_log_odds


@keras.saving.register_keras_serializable(package="kgenre")
class FusedLogOdds(keras.layers.Layer):
    """A weighted sum of each network's evidence beyond the genres' frequencies.

    ``logit = prior + bias + sum_m weight_m (log_odds(p_m) - prior)``, per genre: with weights 1 the networks count as
    independent, with 1 / M each it is the mean of their log-odds. A network whose inputs are all 0 (no token, a black
    poster) is left out. `fit_fusion` finds the weights.

    Args:
        mean: scale the weights of the networks that are not left out so that they add up to the sum of all weights:
            the mean, then, also for a film that lacks some of the inputs.
        **kwargs: ``name`` and ``dtype``, as for every Keras layer.

    Input: a list of M probabilities, float (B, G) each, and a list of each network's input, (B, ...), or list of
    inputs. Output: float (B, G) probabilities. In a `without_sigmoid` block both are log-odds.
    """

    activation = staticmethod(keras.activations.sigmoid)

    def __init__(self, mean: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mean = mean

    def build(self, probabilities_shape: Sequence[Any], read_shape: Any = None) -> None:
        """Create ``weight`` (M, G), initially 1 / M, and ``bias`` and ``prior`` (G,), initially 0."""
        networks, genres = len(probabilities_shape), probabilities_shape[0][-1]
        first = keras.initializers.Constant(1 / networks)
        self.weight = self.add_weight(shape=(networks, genres), initializer=first, trainable=False, name="weight")
        self.bias = self.add_weight(shape=(genres,), initializer="zeros", trainable=False, name="bias")
        self.prior = self.add_weight(shape=(genres,), initializer="zeros", trainable=False, name="prior")

    def adapt_to_films(self, films: Mapping[str, np.ndarray]) -> None:
        """Set ``prior`` to the log-odds of the `frequencies` of ``films["genres"]``, (n, G)."""
        self.prior.assign(prior_log_odds(films["genres"]))

    def call(self, probabilities: Sequence[Any], read: Sequence[Any]) -> Any:
        """Map a list of (B, G) to (B, G)."""
        evidence, total_weight, present_weight = 0.0, 0.0, 0.0
        for weight, p, values in zip(ops.unstack(ops.convert_to_tensor(self.weight)), probabilities, read, strict=True):
            inputs = keras.tree.flatten(values)
            given = [ops.any(ops.not_equal(one, 0), axis=tuple(range(1, len(one.shape)))) for one in inputs]
            present = functools.reduce(ops.logical_or, given)
            own = p if self.activation is keras.activations.linear else log_odds(p)
            counts = weight * ops.cast(present, self.compute_dtype)[:, None]
            evidence = evidence + counts * (own - self.prior)
            total_weight, present_weight = total_weight + weight, present_weight + counts
        if self.mean:
            evidence = evidence * total_weight / ops.maximum(present_weight, keras.config.epsilon())
        return self.activation(self.prior + self.bias + evidence)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of ``__init__``."""
        return super().get_config() | {"mean": self.mean}
