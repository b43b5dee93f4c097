"""What an evaluation leaves: each film's probabilities beside its truth."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from kgenre.evaluation.bootstrap import bootstrap_metrics
from kgenre.evaluation.thresholds import Thresholds


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
    _resampled: dict[Thresholds | None, dict[str, npt.NDArray[np.float64]]] = field(default_factory=dict, repr=False)

    def resampled(self, thresholds: Thresholds | None) -> dict[str, npt.NDArray[np.float64]]:
        """`bootstrap_metrics` of these films, worked out once."""
        if thresholds not in self._resampled:
            self._resampled[thresholds] = bootstrap_metrics(self.true, self.prob, thresholds)
        return self._resampled[thresholds]

    def resampled_map(self) -> npt.NDArray[np.float64]:
        """``map`` in each of these rounds; no more is worked out for it, where that is all that is wanted."""
        for known in self._resampled.values():  # thresholds do not matter
            return known["map"]
        return bootstrap_metrics(self.true, self.prob, pooled=False)["map"]
