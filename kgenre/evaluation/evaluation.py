"""What an evaluation leaves: each film's probabilities beside its truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The predictions of one pass over validation or test films.

    Args:
        true: (n, G) bool.
        prob: (n, G) float64.
        rows: (n,) int, each film's row in the datamodule's table.
    """

    true: npt.NDArray[np.bool_]
    prob: npt.NDArray[np.float64]
    rows: npt.NDArray[np.int64]
