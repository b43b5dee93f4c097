"""The result of an evaluation: each film's probabilities and true genres."""

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
        """Return `bootstrap_metrics` of these films, computed once per set of thresholds."""
        if thresholds not in self._resampled:
            self._resampled[thresholds] = bootstrap_metrics(self.true, self.prob, thresholds)
        return self._resampled[thresholds]

    def resampled_map(self) -> npt.NDArray[np.float64]:
        """Return ``map`` in each resample, without computing the pooled metrics for it."""
        for known in self._resampled.values():  # any will do: map does not depend on thresholds
            return known["map"]
        return bootstrap_metrics(self.true, self.prob, pooled=False)["map"]
