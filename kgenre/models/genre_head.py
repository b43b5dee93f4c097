"""The last layer: one logit per genre, whose bias starts at the log-odds of the genre's frequency."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from kgenre.models.log_odds import prior_log_odds


@keras.saving.register_keras_serializable(package="kgenre")
class GenreHead(keras.layers.Dense):
    """A dense layer whose bias starts at the log-odds of the training films' genres.

    An untrained network then roughly predicts the frequencies instead of one half for everything, and does not spend
    its first epochs on learning how rare a Western is. See Lin et al. (2017), "Focal Loss for Dense Object Detection",
    section 4.1 (https://arxiv.org/abs/1708.02002).

    Input: float (B, C). Output: float32 (B, units) logits, under a mixed-precision policy too.

    Args:
        units: number of genres.
        scale: scale of the kernel's initial values (Glorot uniform).
        **kwargs: as for ``keras.layers.Dense``.
    """

    def __init__(self, units: int, scale: float = 1.0, **kwargs: Any) -> None:
        self.scale = scale
        initial = keras.initializers.VarianceScaling(scale**2, "fan_avg", "uniform")
        super().__init__(units, **{"kernel_initializer": initial, "dtype": "float32"} | kwargs)

    def adapt_to_films(self, films: Mapping[str, np.ndarray]) -> None:
        """Set the bias to the log-odds of the `frequencies` of ``films["genres"]``, (n, units)."""
        if self.use_bias:
            self.bias.assign(prior_log_odds(films["genres"]))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of ``__init__``."""
        return super().get_config() | {"scale": self.scale}
